//! A TCP proxy that loses a reply.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

/// Passes everything on, until a request with the armed word comes by: its reply is read to its first bytes, so that
/// the server has done its work, and lost with the connection. Once.
pub(crate) struct CutProxy {
    address: SocketAddr,
    armed: Arc<Mutex<Option<String>>>,
    serving: JoinHandle<()>,
}

impl CutProxy {
    pub(crate) async fn start(base_url: &str) -> Self {
        let target = base_url.strip_prefix("http://").unwrap().to_owned();
        let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
        let address = listener.local_addr().unwrap();
        let armed = Arc::<Mutex<Option<String>>>::default();
        let shared = Arc::clone(&armed);
        let serving = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(&target).await.unwrap();
                tokio::spawn(pass(client, server, Arc::clone(&shared)));
            }
        });
        Self { address, armed, serving }
    }

    pub(crate) fn base_url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn cut_the_reply_to(&self, word: &str) {
        *self.armed.lock().unwrap() = Some(word.to_owned());
    }
}

impl Drop for CutProxy {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn pass(mut client: TcpStream, mut server: TcpStream, armed: Arc<Mutex<Option<String>>>) {
    let (mut up, mut down) = (vec![0; 65_536], vec![0; 65_536]);
    let mut cut = false;
    loop {
        tokio::select! {
            read = client.read(&mut up) => {
                let Ok(count @ 1..) = read else { return };
                let mut armed = armed.lock().unwrap().take_if(|word| String::from_utf8_lossy(&up[..count]).contains(word.as_str()));
                cut |= armed.take().is_some();
                if server.write_all(&up[..count]).await.is_err() { return; }
            }
            read = server.read(&mut down) => {
                let Ok(count @ 1..) = read else { return };
                if cut || client.write_all(&down[..count]).await.is_err() { return; }
            }
        }
    }
}
