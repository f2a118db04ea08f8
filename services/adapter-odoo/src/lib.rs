//! posmesh-adapter-odoo: skeleton.
