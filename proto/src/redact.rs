//! `Debug` for the messages that hold secrets or personal data: it shows that they are there, never what they are.

use std::fmt::{Debug, Formatter, Result};

use crate::{adapter::v1::PosContext, order::v1::GuestContact, router::v1::PutConnectionRequest};

const REDACTED: &str = "[redacted]";

impl Debug for PosContext {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        f.debug_struct("PosContext")
            .field("tenant_id", &self.tenant_id)
            .field("connection_id", &self.connection_id)
            .field("store_id", &self.store_id)
            .field("revision", &self.revision)
            .field("settings_json", &self.settings_json)
            .field("credentials", &REDACTED)
            .finish()
    }
}

impl Debug for PutConnectionRequest {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        f.debug_struct("PutConnectionRequest")
            .field("connection", &self.connection)
            .field("credentials", &REDACTED)
            .finish()
    }
}

impl Debug for GuestContact {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        f.debug_struct("GuestContact").field("name", &REDACTED).field("phone", &REDACTED).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_of_a_context_never_shows_a_credential() {
        let context =
            PosContext { credentials: [("api_key".to_owned(), "s3cret".to_owned())].into(), ..Default::default() };
        assert!(!format!("{context:?}").contains("s3cret"));
    }

    #[test]
    fn debug_of_a_guest_contact_never_shows_the_guest() {
        let contact = GuestContact { name: "Kim".to_owned(), phone: "+8210".to_owned() };
        let shown = format!("{contact:?}");
        assert!(!shown.contains("Kim") && !shown.contains("+8210"), "{shown}");
    }
}
