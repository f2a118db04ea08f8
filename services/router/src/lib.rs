//! posmesh-router: skeleton.
