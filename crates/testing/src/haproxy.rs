//! A real HAProxy that forwards a path to Innkeeper.

use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// The program's path in Debian.
const PROGRAM: &str = "/usr/sbin/haproxy";

/// The proxy. Stopped when dropped.
pub struct HaProxy {
    child: Child,
    _directory: TempDir,
}

impl HaProxy {
    /// Starts a proxy at `port` that forwards requests below `/monitor` to the server at `inside`. If `strips` is
    /// set, it removes the prefix.
    pub fn start(port: u16, inside: SocketAddr, strips: bool) -> Self {
        let directory = TempDir::with_prefix("ik").expect("a temporary directory");
        let file = directory.path().join("haproxy.cfg");
        let strip = if strips { "http-request replace-path ^/monitor/?(.*) /\\1" } else { "" };
        let config = format!(
            "defaults\n mode http\n timeout connect 5s\n timeout client 60s\n timeout server 60s\n\
             frontend outside\n bind 127.0.0.1:{port}\n acl below path_reg ^/monitor(/|$)\n \
             http-request return status 404 content-type text/plain string elsewhere if !below\n \
             {strip}\n default_backend inside\n\
             backend inside\n server one {inside}\n"
        );
        std::fs::write(&file, config).expect("it can be written");
        let child = Command::new(PROGRAM)
            .args(["-db", "-q", "-f"])
            .arg(&file)
            .stdin(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("{PROGRAM}: {error}; scripts/test installs it"));
        let proxy = Self { child, _directory: directory };
        let end = Instant::now() + Duration::from_secs(20);
        while let Err(error) = TcpStream::connect(("127.0.0.1", port)) {
            assert!(Instant::now() < end, "{PROGRAM} does not listen: {error}");
            std::thread::sleep(Duration::from_millis(20));
        }
        proxy
    }
}

impl Drop for HaProxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
