//! posmesh-gateway: skeleton.
