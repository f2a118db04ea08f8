//! The contracts of posmesh: message types, typed clients and server traits for every service, made at build time from
//! the `.proto` files beside this crate, and the descriptor set that serves reflection.
//!
//! A product's backend depends on this crate alone: `posmesh_proto::order::v1::order_service_client::OrderServiceClient`
//! over any `tonic` channel.

// The comments stand in the .proto files and are carried over; what prost adds around them has none.
#![allow(missing_docs, unreachable_pub)]
#![allow(clippy::doc_markdown, clippy::large_enum_variant, clippy::doc_lazy_continuation)]

mod redact;

/// Types that several services share.
pub mod common {
    /// Version 1.
    pub mod v1 {
        tonic::include_proto!("posmesh.common.v1");
    }
}

/// Brands and stores.
pub mod store {
    /// Version 1.
    pub mod v1 {
        tonic::include_proto!("posmesh.store.v1");
    }
}

/// Menus.
pub mod catalog {
    /// Version 1.
    pub mod v1 {
        tonic::include_proto!("posmesh.catalog.v1");
    }
}

/// Orders and checks.
pub mod order {
    /// Version 1.
    pub mod v1 {
        tonic::include_proto!("posmesh.order.v1");
    }
}

/// Adapter instances and connections.
pub mod router {
    /// Version 1.
    pub mod v1 {
        tonic::include_proto!("posmesh.router.v1");
    }
}

/// What a vendor adapter serves.
pub mod adapter {
    /// Version 1.
    pub mod v1 {
        tonic::include_proto!("posmesh.adapter.v1");
    }
}

/// The encoded `FileDescriptorSet` of all contracts and of everything that they import.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/posmesh.bin"));
