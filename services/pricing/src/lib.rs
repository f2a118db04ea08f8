//! posmesh-pricing: skeleton.
