//! `posmesh dev` as somebody meets it who tries the mesh for the first time.

#![allow(clippy::unwrap_used)]

use std::{
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    sync::mpsc,
    time::{Duration, Instant},
};

const PATIENCE: Duration = Duration::from_secs(60);

/// A running `posmesh dev`, killed when it is dropped.
struct Dev {
    child: Child,
    /// What it printed until it was ready.
    printed: String,
    /// What it prints after that, until it ends.
    lines: mpsc::Receiver<String>,
}

impl Dev {
    fn start(data: &Path) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_posmesh"))
            .args(["dev", "--data"])
            .arg(data)
            .env("POSMESH__LISTEN__GRPC", "127.0.0.1:0")
            .env("POSMESH__LISTEN__HTTP", "127.0.0.1:0")
            .env("POSMESH__LISTEN__ADAPTER_SIMULATOR", "127.0.0.1:0")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = mpsc::channel();
        // Reads on to the end, so that the mesh is never held up by a full pipe.
        std::thread::spawn(move || stdout.lines().map_while(Result::ok).for_each(|line| drop(sender.send(line))));
        let mut dev = Self { child, printed: String::new(), lines };
        let deadline = Instant::now() + PATIENCE;
        while !dev.printed.contains("Ready after") {
            let left = deadline.saturating_duration_since(Instant::now());
            let Ok(line) = dev.lines.recv_timeout(left) else { panic!("not ready; it printed\n{}", dev.printed) };
            dev.printed.push_str(&line);
            dev.printed.push('\n');
        }
        dev
    }

    /// The lines to paste under a heading that begins with `heading`.
    fn lines_under(&self, heading: &str) -> String {
        let mut lines = self.printed.lines().skip_while(|line| !line.starts_with(heading)).skip(1);
        let block: Vec<&str> = lines.by_ref().take_while(|line| !line.trim().is_empty()).collect();
        assert!(!block.is_empty(), "nothing under {heading:?} in\n{}", self.printed);
        block.join("\n")
    }

    fn stop(mut self) {
        assert!(Command::new("kill").arg(self.child.id().to_string()).status().unwrap().success());
        let deadline = Instant::now() + PATIENCE;
        // Its end closes the pipe.
        while self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())).is_ok() {}
        assert!(Instant::now() < deadline, "it did not end");
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn pasted(script: &str) -> String {
    let output = Command::new("bash").args(["-euo", "pipefail", "-c", script]).output().unwrap();
    let (answer, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{script}\n{answer}\n{errors}");
    answer.into_owned()
}

#[test]
fn the_printed_curl_lines_show_the_menu_and_place_an_order_of_each_product_also_after_a_restart() {
    let data = tempfile::tempdir().unwrap();
    for start in ["first", "second"] {
        let dev = Dev::start(data.path());
        let menu = pasted(&dev.lines_under("The menu"));
        assert!(menu.contains("Draught beer") || menu.contains("Yakitori bento"), "{start}: {menu}");
        for product in ["Table", "ToGo", "Kiosk"] {
            let placed = pasted(&dev.lines_under(product));
            assert!(placed.contains(r#""state":"PLACED""#), "{start} {product}: {placed}");
        }
        dev.stop();
    }
}
