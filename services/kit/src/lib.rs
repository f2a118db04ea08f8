//! posmesh-kit: skeleton.
