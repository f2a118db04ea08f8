//! posmesh-store: skeleton.
