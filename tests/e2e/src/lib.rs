//! posmesh-e2e: skeleton.
