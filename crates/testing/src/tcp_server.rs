//! A listener on a free port of this machine with a thread per connection. All of them end when it is dropped.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};

use parking_lot::{Mutex, MutexGuard};

/// A connection, encrypted or not.
pub(crate) trait Stream: Read + Write + Send {}

impl<T: Read + Write + Send> Stream for T {}

pub(crate) struct TcpServer {
    address: SocketAddr,
    shared: Arc<Shared>,
    listening: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    connections: AtomicUsize,
    open: Mutex<Vec<TcpStream>>,
}

impl TcpServer {
    /// Serves each connection with `serve`, which also gets the connection's number, from 1.
    pub(crate) fn start(serve: impl Fn(TcpStream, usize) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port on 127.0.0.1");
        let address = listener.local_addr().expect("the address of a bound listener");
        let shared = Arc::new(Shared::default());
        let listening = thread::spawn({
            let shared = Arc::clone(&shared);
            move || listen(&listener, &shared, &Arc::new(serve))
        });
        Self { address, shared, listening: Some(listening) }
    }

    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    /// Number of connections so far.
    pub(crate) fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }

    /// Closes all open connections.
    pub(crate) fn hang_up(&self) {
        for stream in locked(&self.shared.open).drain(..) {
            let _ = stream.shutdown(std::net::Shutdown::Both);
        }
    }
}

impl Drop for TcpServer {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        // A connection wakes the listener, which then notices that it should stop.
        let _ = TcpStream::connect(self.address);
        if let Some(listening) = self.listening.take() {
            let _ = listening.join();
        }
        self.hang_up();
    }
}

fn listen<F>(listener: &TcpListener, shared: &Shared, serve: &Arc<F>)
where
    F: Fn(TcpStream, usize) + Send + Sync + 'static,
{
    while let Ok((stream, _)) = listener.accept() {
        if shared.stop.load(Ordering::SeqCst) {
            return;
        }
        // Send each line without delay.
        let _ = stream.set_nodelay(true);
        if let Ok(copy) = stream.try_clone() {
            locked(&shared.open).push(copy);
        }
        let number = shared.connections.fetch_add(1, Ordering::SeqCst) + 1;
        let serve = Arc::clone(serve);
        thread::spawn(move || {
            let copy = stream.try_clone();
            serve(stream, number);
            // `open` holds a copy of the socket, so only a shutdown ends the connection for the client.
            if let Ok(copy) = copy {
                let _ = copy.shutdown(std::net::Shutdown::Both);
            }
        });
    }
}

/// Reads until the client or the end of the server closes the connection.
pub(crate) fn hang(stream: &mut dyn Stream) {
    let mut buffer = [0; 1024];
    while let Ok(1..) = stream.read(&mut buffer) {}
}

pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock()
}
