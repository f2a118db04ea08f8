//! Odoo's program: Debian's package, unpacked, and a Python environment with what it imports.

use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::{cache, debian, progress, python};

/// The program, and the packages whose files it links to.
const DEBIAN_PACKAGES: &[&str] = &[
    "odoo-19",
    "libjs-jquery",
    "libjs-underscore",
    "libjs-jquery-form",
    "fonts-montserrat",
    "fonts-font-awesome",
    "fonts-roboto-unhinted",
];

#[rustfmt::skip]
const PYTHON_PACKAGES: &[&str] = &[
    "asn1crypto", "Babel", "cbor2", "chardet", "cryptography", "python-dateutil", "docutils", "geoip2", "gevent",
    "greenlet", "idna", "Jinja2", "libsass", "lxml", "lxml-html-clean", "MarkupSafe", "num2words", "ofxparse",
    "openpyxl", "pyOpenSSL", "Pillow", "polib", "psutil", "psycopg2-binary", "pypdf", "pytz", "qrcode", "reportlab",
    "requests", "rjsmin", "pyserial", "python-stdnum", "urllib3", "pyusb", "vobject", "Werkzeug<3.2", "xlrd",
    "XlsxWriter", "xlwt", "zeep", "freezegun", "python-magic", "passlib", "setuptools",
];

/// An installed Odoo.
#[derive(Debug, Clone)]
pub(crate) struct Program {
    directory: PathBuf,
}

impl Program {
    /// Installs Odoo 19 unless the cache holds it: about a minute.
    pub(crate) fn install() -> Result<Self> {
        let directory = cache::once("odoo-19", |dir| {
            progress("Odoo 19 gets installed, which takes about a minute");
            let work = dir.join("apt");
            debian::unpack_unstable(DEBIAN_PACKAGES, &work, &dir.join("root"))?;
            std::fs::remove_dir_all(&work)?;
            python::install(&dir.join("python"), PYTHON_PACKAGES)
        })?;
        Ok(Self { directory })
    }

    /// Where its Python modules are: the value of `PYTHONPATH`.
    pub(crate) fn python_path(&self) -> String {
        self.directory.join("root/usr/lib/python3/dist-packages").display().to_string()
    }

    /// The command line up to the options that differ: database, its server, where files are kept. No configuration file
    /// of the machine is read.
    pub(crate) fn command(&self, subcommand: Option<&str>, database: &str, port: u16, data: &Path) -> Vec<String> {
        let mut words = vec![
            self.directory.join("python/bin/python").display().to_string(),
            self.directory.join("root/usr/bin/odoo").display().to_string(),
        ];
        words.extend(subcommand.map(str::to_owned));
        words.extend([
            "--config=/dev/null".to_owned(),
            format!("--addons-path={}/odoo/addons", self.python_path()),
            format!("--data-dir={}", data.display()),
            format!("--database={database}"),
            "--db_host=127.0.0.1".to_owned(),
            format!("--db_port={port}"),
            format!("--db_user={}", crate::postgres::SUPERUSER),
        ]);
        words
    }
}
