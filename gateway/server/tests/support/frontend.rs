//! Pages of applications: bundled from their sources, served from an origin of their own, and the gateway's name resolved for them.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use super::browser::Browser;
use super::process::node;
use super::root;

/// A page in a browser window.
pub struct Page {
    pub browser: Browser,
}

impl Page {
    /// Opens `http://localhost:3000/` with the bundle of `entry` (in `tests/clients`) over the application's `sources`. The
    /// browser finds the gateway at `name`, and `storage` in the page's local storage.
    #[track_caller]
    pub fn open(
        sources: &str,
        entry: &str,
        name: &str,
        gateway: SocketAddr,
        storage: &[(&str, &str)],
    ) -> Self {
        let clients = root().join("gateway/server/tests/clients");
        let mut bundle = node();
        bundle.arg(clients.join("bundle.cjs")).arg(root().join(sources)).arg(clients.join(entry));
        let output = bundle.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let script = String::from_utf8(output.stdout).unwrap();
        // In a page the end of a script may not stand in a script.
        let script = script.replace("</script", "<\\/script");
        let page = serve(format!(
            "<!doctype html><meta charset=utf-8><div id=root></div><script>if (localStorage.length) {{{script}}}</script>"
        ));
        let rules = format!("--host-resolver-rules=MAP {name} {gateway},MAP localhost:3000 {page}");
        let browser = Browser::open(&[rules]);
        browser.visit("http://localhost:3000/");
        for (key, value) in storage {
            browser.run(&format!("localStorage.setItem({key:?}, {value:?})"));
        }
        browser.visit("http://localhost:3000/");
        Self { browser }
    }
}

/// Answers every request with `html`, until the test program ends.
fn serve(html: String) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let answer = format!(
                "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{html}",
                html.len()
            );
            // A browser opens connections in advance, and uses some of them never.
            std::thread::spawn(move || {
                let mut head = Vec::new();
                let mut chunk = [0; 1024];
                while !head.windows(4).any(|end| end == b"\r\n\r\n") {
                    match stream.read(&mut chunk) {
                        Ok(read @ 1..) => head.extend_from_slice(&chunk[..read]),
                        _ => return,
                    }
                }
                drop(stream.write_all(answer.as_bytes()));
            });
        }
    });
    address
}
