//! posmesh-order: skeleton.
