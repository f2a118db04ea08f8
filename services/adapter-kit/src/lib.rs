//! posmesh-adapter-kit: skeleton.
