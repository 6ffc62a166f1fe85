//! Program of the browser double where there are no shell scripts: reports its arguments to the port in the file `port`
//! beside it, prints something, and stays until the test closes the connection.

#![expect(
    clippy::print_stdout,
    reason = "browsers print something, and that must not reach the app"
)]

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpStream};

fn main() {
    let program = std::env::current_exe().expect("the path of this program");
    let port = std::fs::read_to_string(program.with_file_name("port")).expect("the file port");
    let port: u16 = port.trim().parse().expect("a port");
    let mut test = TcpStream::connect(("127.0.0.1", port)).expect("the test listens");
    // In place of the parent's id, which nobody tells here.
    let mut report = String::from("0\0");
    for argument in std::env::args().skip(1) {
        report.push_str(&argument);
        report.push('\0');
    }
    test.write_all(report.as_bytes()).expect("the test reads");
    test.shutdown(Shutdown::Write).expect("the test reads");
    println!("noise");
    eprintln!("noise");
    // An error, too, says that the test is over.
    let _ = test.read_to_end(&mut Vec::new());
}
