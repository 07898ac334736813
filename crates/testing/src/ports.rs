//! Ports of this machine that no other test gets by accident. They are below the range from which Linux assigns ports
//! to listeners on port 0 and to outgoing connections (from 32768).

use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};

/// The range from which ports are drawn.
const OWN: std::ops::Range<u16> = 20_000..32_000;

/// A port that is free for TCP and UDP, for a server that will listen on it.
///
/// # Panics
///
/// If none of a thousand ports is free.
pub fn free_port() -> u16 {
    let is_free = |port: &u16| {
        let address = (Ipv4Addr::LOCALHOST, *port);
        TcpListener::bind(address).is_ok() && UdpSocket::bind(address).is_ok()
    };
    std::iter::repeat_with(|| fastrand::u16(OWN)).take(1000).find(is_free).expect("a free port")
}

/// A port of 127.0.0.1 that refuses connections while this test program runs: it is bound, but nobody listens on it.
///
/// # Panics
///
/// If no port can be bound.
pub fn closed_port() -> u16 {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, socket_with};

    // Child processes do not inherit the socket.
    let taken =
        socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, None).expect("a socket");
    let port = std::iter::repeat_with(free_port)
        .take(100)
        .find(|port| bind(&taken, &SocketAddr::from((Ipv4Addr::LOCALHOST, *port))).is_ok());
    // The socket stays open until the program ends.
    std::mem::forget(taken);
    port.expect("a port that can be taken")
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;
    use std::net::TcpStream;

    use super::*;

    #[test]
    fn a_closed_port_refuses_and_is_given_to_nobody_else() {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, closed_port()));
        let refused = TcpStream::connect(address).map_err(|error| error.kind());
        assert!(matches!(refused, Err(ErrorKind::ConnectionRefused)), "{refused:?}");
        let taken = TcpListener::bind(address).map_err(|error| error.kind());
        assert!(matches!(taken, Err(ErrorKind::AddrInUse)), "{taken:?}");
    }

    #[test]
    fn a_free_port_can_be_listened_on() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, free_port()));
        assert!(listener.is_ok_and(|listener| OWN.contains(&listener.local_addr().unwrap().port())));
    }
}
