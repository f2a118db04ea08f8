//! A TCP proxy that holds a request, or loses its reply.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::oneshot,
    task::JoinHandle,
};

/// What happens to the next request that holds a word.
struct Trap {
    word: String,
    then: Then,
}

enum Then {
    /// Its reply is read to its first bytes, so that the server has done its work, and lost with the connection.
    CutTheReply,
    /// It is told that the request is here; it goes on when the answer comes.
    Hold(oneshot::Sender<()>, oneshot::Receiver<()>),
}

/// Passes everything on but what is caught. A trap catches once.
pub(crate) struct Proxy {
    address: SocketAddr,
    trap: Arc<Mutex<Option<Trap>>>,
    serving: JoinHandle<()>,
}

impl Proxy {
    pub(crate) async fn start(base_url: &str) -> Self {
        let target = base_url.strip_prefix("http://").unwrap().to_owned();
        let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
        let address = listener.local_addr().unwrap();
        let trap = Arc::<Mutex<Option<Trap>>>::default();
        let shared = Arc::clone(&trap);
        let serving = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(&target).await.unwrap();
                tokio::spawn(pass(client, server, Arc::clone(&shared)));
            }
        });
        Self { address, trap, serving }
    }

    pub(crate) fn base_url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn cut_the_reply_to(&self, word: &str) {
        *self.trap.lock().unwrap() = Some(Trap { word: word.to_owned(), then: Then::CutTheReply });
    }

    /// Whether the trap still waits: then no such request came by.
    pub(crate) fn is_armed(&self) -> bool {
        self.trap.lock().unwrap().is_some()
    }

    /// The first end tells when the request is here, the second lets it go on.
    pub(crate) fn hold(&self, word: &str) -> (oneshot::Receiver<()>, oneshot::Sender<()>) {
        let (here, is_here) = oneshot::channel();
        let (go, may_go) = oneshot::channel();
        *self.trap.lock().unwrap() = Some(Trap { word: word.to_owned(), then: Then::Hold(here, may_go) });
        (is_here, go)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

fn caught(trap: &Mutex<Option<Trap>>, bytes: &[u8]) -> Option<Then> {
    let text = String::from_utf8_lossy(bytes);
    trap.lock().unwrap().take_if(|trap| text.contains(&trap.word)).map(|trap| trap.then)
}

async fn pass(mut client: TcpStream, mut server: TcpStream, trap: Arc<Mutex<Option<Trap>>>) {
    let (mut up, mut down) = (vec![0; 65_536], vec![0; 65_536]);
    let mut cut = false;
    loop {
        tokio::select! {
            read = client.read(&mut up) => {
                let Ok(count @ 1..) = read else { return };
                match caught(&trap, &up[..count]) {
                    Some(Then::CutTheReply) => cut = true,
                    Some(Then::Hold(here, may_go)) => {
                        let _ = here.send(());
                        let _ = may_go.await;
                    }
                    None => {}
                }
                if server.write_all(&up[..count]).await.is_err() { return; }
            }
            read = server.read(&mut down) => {
                let Ok(count @ 1..) = read else { return };
                if cut || client.write_all(&down[..count]).await.is_err() { return; }
            }
        }
    }
}
