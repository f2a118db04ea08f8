//! posmesh-adapter-simulator: skeleton.
