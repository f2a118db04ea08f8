//! posmesh-catalog: skeleton.
