//! A TCP proxy in front of Postgres that forwards everything, or discards it while connections stay open.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::tcp_server::TcpServer;

/// The proxy. Stopped when dropped.
pub struct SwallowingProxy {
    server: TcpServer,
    swallows: Arc<AtomicBool>,
}

impl SwallowingProxy {
    /// Starts a proxy in front of the server of `url`, which must name a directory with a Unix socket, as those of
    /// tests do.
    pub fn before(url: &str) -> Self {
        let socket = socket_of(url);
        let swallows = Arc::<AtomicBool>::default();
        let shared = Arc::clone(&swallows);
        let server = TcpServer::start(move |client, _| {
            let Ok(server) = UnixStream::connect(&socket) else { return };
            let (Ok(client_out), Ok(server_out)) = (client.try_clone(), server.try_clone()) else { return };
            let back = Arc::clone(&shared);
            let answers = std::thread::spawn(move || {
                pump(server, &client_out, &back);
                let _ = client_out.shutdown(Shutdown::Both);
            });
            pump(client, &server_out, &shared);
            let _ = server_out.shutdown(Shutdown::Both);
            let _ = answers.join();
        });
        Self { server, swallows }
    }

    /// The database `url` through this proxy.
    pub fn url(&self, url: &str) -> String {
        let (_, rest) = url.split_once("://").expect("an address with a scheme");
        let (authority, database) = rest.split_once('/').expect("an address with a database");
        let user = authority.split('@').next().expect("a user");
        format!("postgres://{user}@127.0.0.1:{}/{database}", self.server.port())
    }

    /// Sets whether all bytes are discarded, in both directions.
    pub fn swallow(&self, swallows: bool) {
        self.swallows.store(swallows, Ordering::SeqCst);
    }

    /// Number of connections so far.
    pub fn connections(&self) -> usize {
        self.server.connections()
    }
}

fn pump(mut from: impl Read, mut to: impl Write, swallows: &AtomicBool) {
    let mut buffer = [0; 16 * 1024];
    while let Ok(read @ 1..) = from.read(&mut buffer) {
        if !swallows.load(Ordering::SeqCst) && to.write_all(&buffer[..read]).is_err() {
            return;
        }
    }
}

/// The socket file of a server's URL.
fn socket_of(url: &str) -> PathBuf {
    let host = url.split_once('@').expect("an address with a user").1.split('/').next().unwrap_or_default();
    let directory = host.replace("%2F", "/").replace("%2f", "/");
    PathBuf::from(directory).join(".s.PGSQL.5432")
}
