//! Ports of this machine that no other test is given by accident: they lie below those that the system hands out to
//! listeners at port 0 and to outgoing connections (from 32768 on, as Linux has it).

use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};

/// The ports that are drawn from.
const OWN: std::ops::Range<u16> = 20_000..32_000;

/// A port that nobody has, over TCP and UDP, for a server that is about to listen on it.
///
/// # Panics
///
/// When none of a thousand is free.
pub fn free_port() -> u16 {
    let is_free = |port: &u16| {
        let address = (Ipv4Addr::LOCALHOST, *port);
        TcpListener::bind(address).is_ok() && UdpSocket::bind(address).is_ok()
    };
    std::iter::repeat_with(|| fastrand::u16(OWN)).take(1000).find(is_free).expect("a free port")
}

/// A port of 127.0.0.1 that refuses connections for as long as this test program runs: it is taken, and nobody
/// listens on it.
///
/// # Panics
///
/// When no port can be had.
pub fn closed_port() -> u16 {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, socket_with};

    // No process that the test starts inherits it.
    let taken =
        socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, None).expect("a socket");
    let port = std::iter::repeat_with(free_port)
        .take(100)
        .find(|port| bind(&taken, &SocketAddr::from((Ipv4Addr::LOCALHOST, *port))).is_ok());
    // Open until the program ends.
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
