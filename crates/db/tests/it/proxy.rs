//! A connection that can be cut at a chosen moment.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread::spawn;

/// Where a connection is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// What the client says next does not arrive, and the server does not notice that the client is gone.
    Questions,
    /// What the server says next does not arrive. It has heard and will do what it was told.
    Answers,
}

/// Stands between clients and a server on this machine.
#[derive(Clone, Debug)]
pub struct Proxy {
    pub port: u16,
    cut: Arc<Mutex<Option<Cut>>>,
    /// Connections to the server that nobody is at the other end of any more.
    forgotten: Arc<Mutex<Vec<TcpStream>>>,
}

impl Proxy {
    pub fn start(server: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let proxy = Self { port, cut: Arc::default(), forgotten: Arc::default() };
        let handle = proxy.clone();
        spawn(move || {
            for client in listener.incoming() {
                let (client, server) = (client.unwrap(), TcpStream::connect(("127.0.0.1", server)).unwrap());
                for direction in [Cut::Questions, Cut::Answers] {
                    let (client, server) = (client.try_clone().unwrap(), server.try_clone().unwrap());
                    let proxy = handle.clone();
                    spawn(move || proxy.pass(direction, &client, server));
                }
            }
        });
        proxy
    }

    /// Cuts whichever connection next has something to pass on in this direction.
    pub fn cut(&self, cut: Cut) {
        *self.cut.lock().unwrap() = Some(cut);
    }

    /// Whether the cut has happened.
    pub fn is_cut(&self) -> bool {
        self.cut.lock().unwrap().is_none()
    }

    fn pass(&self, direction: Cut, client: &TcpStream, server: TcpStream) {
        let (mut from, mut to) = match direction {
            Cut::Questions => (client.try_clone().unwrap(), server.try_clone().unwrap()),
            Cut::Answers => (server.try_clone().unwrap(), client.try_clone().unwrap()),
        };
        let mut buffer = [0; 65_536];
        let mut swallowing = false;
        while let Ok(length @ 1..) = from.read(&mut buffer) {
            let now = self.cut.lock().unwrap().take_if(|cut| *cut == direction).is_some();
            if now {
                client.shutdown(Shutdown::Both).unwrap();
                if direction == Cut::Questions {
                    self.forgotten.lock().unwrap().push(server);
                    return;
                }
                swallowing = true;
            }
            if !swallowing && to.write_all(&buffer[..length]).is_err() {
                break;
            }
        }
        let _ = to.shutdown(Shutdown::Write);
    }
}
