//! TCP proxy that delivers every byte late, as a long way does. It delays no handshake of TCP, which the kernel answers by itself.

use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

const READ_BYTES: usize = 64 * 1024;

/// Starts a proxy to `server`; returns its address. It ends with the process.
pub(super) fn start(server: SocketAddr, one_way: Duration) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = listener.local_addr()?;
    thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            // Whoever gets no connection notices.
            let _ = join(&client, server, one_way);
        }
    });
    Ok(address)
}

/// Carries both directions, each by two threads: what is under way does not keep the next bytes from being read.
fn join(client: &TcpStream, server: SocketAddr, one_way: Duration) -> io::Result<()> {
    let server = TcpStream::connect(server)?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    for (mut from, mut to) in [
        (client.try_clone()?, server.try_clone()?),
        (server.try_clone()?, client.try_clone()?),
    ] {
        let (sender, receiver) = mpsc::channel();
        thread::spawn(move || read(&mut from, one_way, &sender));
        thread::spawn(move || {
            // Whoever hangs up is not missed.
            let _ = write(&mut to, &receiver);
            let _ = to.shutdown(Shutdown::Write);
        });
    }
    Ok(())
}

/// Bytes, and when they arrive.
type Piece = (Instant, Vec<u8>);

fn read(from: &mut TcpStream, one_way: Duration, pieces: &mpsc::Sender<Piece>) {
    let mut buffer = vec![0; READ_BYTES];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        let piece = (Instant::now() + one_way, buffer[..count].to_vec());
        if pieces.send(piece).is_err() {
            break;
        }
    }
}

fn write(to: &mut TcpStream, pieces: &mpsc::Receiver<Piece>) -> io::Result<()> {
    for (due, piece) in pieces {
        thread::sleep(due.saturating_duration_since(Instant::now()));
        to.write_all(&piece)?;
    }
    Ok(())
}
