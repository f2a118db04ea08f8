//! posmesh-kit-db: skeleton.
