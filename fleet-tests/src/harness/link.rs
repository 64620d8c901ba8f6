//! Link of a device to its control plane: a TCP proxy on a loopback address of the device's own, on
//! the control plane's ports, that can be cut, stalled and slowed, and counts bytes.

use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Open,
    /// Connections are ended, new ones too.
    Cut,
    /// Connections stay open but nothing moves, as with a dead radio.
    Stalled,
    /// The proxy ends.
    Over,
}

#[derive(Debug)]
struct State {
    mode: Mode,
    delay: Duration,
    /// Bytes per second, for each direction of each connection.
    rate: Option<u64>,
    /// Count of bytes down at which the link cuts itself, to tear a download in its middle.
    cut_after: Option<u64>,
    sockets: Vec<TcpStream>,
    /// Bytes of both directions, if they are kept.
    recorded: Option<Vec<u8>>,
    /// Diverted connections: port of the real target, and the address used instead.
    diverted: Vec<(u16, SocketAddr)>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    up: AtomicU64,
    down: AtomicU64,
    accepted: AtomicUsize,
}

/// Proxy between a device and its control plane.
#[derive(Debug)]
pub struct Link {
    address: Ipv4Addr,
    listeners: Vec<SocketAddr>,
    shared: Arc<Shared>,
}

impl Link {
    /// Opens proxies on `address` and the ports of `targets`, which need not listen yet.
    ///
    /// # Panics
    /// Panics if a port is taken.
    pub fn new(address: Ipv4Addr, targets: &[SocketAddr]) -> Self {
        let shared = Arc::new(Shared {
            state: Mutex::new(State {
                mode: Mode::Open,
                delay: Duration::ZERO,
                rate: None,
                cut_after: None,
                sockets: Vec::new(),
                recorded: None,
                diverted: Vec::new(),
            }),
            changed: Condvar::new(),
            up: AtomicU64::new(0),
            down: AtomicU64::new(0),
            accepted: AtomicUsize::new(0),
        });
        let mut listeners = Vec::new();
        for &target in targets {
            let here = SocketAddr::from((address, target.port()));
            let listener = TcpListener::bind(here).unwrap_or_else(|error| {
                panic!("the link's proxy cannot listen on {here}: {error}")
            });
            listeners.push(here);
            let shared = Arc::clone(&shared);
            thread::spawn(move || accept(&listener, target, &shared));
        }
        Self { address, listeners, shared }
    }

    /// Returns the address that the device dials.
    pub fn address(&self) -> Ipv4Addr {
        self.address
    }

    /// Ends every connection, and every new one.
    pub fn cut(&self) {
        self.set(Mode::Cut);
    }

    /// Keeps connections open, but moves no bytes.
    pub fn stall(&self) {
        self.set(Mode::Stalled);
    }

    /// Ends a cut or a stall.
    pub fn heal(&self) {
        self.set(Mode::Open);
    }

    /// Diverts connections for this port of the control plane; existing ones are ended.
    pub fn divert(&self, port: u16, to: SocketAddr) {
        self.cut();
        self.shared.state.lock().unwrap().diverted.push((port, to));
        self.heal();
    }

    /// Ends all diversions; connections go to the control plane again.
    pub fn divert_no_more(&self) {
        self.cut();
        self.shared.state.lock().unwrap().diverted.clear();
        self.heal();
    }

    /// Delays each piece of data by this time, in each direction.
    pub fn delay(&self, delay: Duration) {
        self.shared.state.lock().unwrap().delay = delay;
    }

    /// Limits each direction of each connection to this many bytes per second. Faster data waits in
    /// the sender's kernel, as with a slow radio.
    pub fn rate(&self, rate: Option<u64>) {
        self.shared.state.lock().unwrap().rate = rate;
    }

    /// Cuts the link once this many more bytes have gone down to the device.
    pub fn cut_after_down(&self, bytes: u64) {
        self.shared.state.lock().unwrap().cut_after = Some(self.down() + bytes);
    }

    /// Keeps every byte of both directions from now on.
    pub fn record(&self) {
        self.shared.state.lock().unwrap().recorded = Some(Vec::new());
    }

    /// Returns the bytes that were kept, in the order in which they came.
    pub fn recorded(&self) -> Vec<u8> {
        self.shared.state.lock().unwrap().recorded.clone().unwrap_or_default()
    }

    /// Returns true if the link is cut.
    pub fn is_cut(&self) -> bool {
        self.shared.state.lock().unwrap().mode == Mode::Cut
    }

    /// Returns the bytes that went up, with TLS but without TCP and IP.
    pub fn up(&self) -> u64 {
        self.shared.up.load(Ordering::Relaxed)
    }

    /// Returns the bytes that went down, with TLS but without TCP and IP.
    pub fn down(&self) -> u64 {
        self.shared.down.load(Ordering::Relaxed)
    }

    /// Returns the number of connections accepted so far, also while cut.
    pub fn accepted(&self) -> usize {
        self.shared.accepted.load(Ordering::Relaxed)
    }

    fn set(&self, mode: Mode) {
        self.shared.set(mode);
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.set(Mode::Over);
        for &listener in &self.listeners {
            // Wakes the accepting thread, which then sees that the proxy is over.
            let _woken = TcpStream::connect_timeout(&listener, Duration::from_secs(1));
        }
    }
}

impl Shared {
    fn set(&self, mode: Mode) {
        let mut state = self.state.lock().unwrap();
        state.mode = mode;
        if mode != Mode::Open {
            state.cut_after = None;
        }
        if matches!(mode, Mode::Cut | Mode::Over) {
            for socket in state.sockets.drain(..) {
                let _ended = socket.shutdown(Shutdown::Both);
            }
        }
        drop(state);
        self.changed.notify_all();
    }

    /// Waits while stalled, then for the delay, and for as long as this many bytes take at the
    /// rate. Returns false if the connection must end.
    fn pass(&self, bytes: u64) -> bool {
        let mut state = self.state.lock().unwrap();
        while state.mode == Mode::Stalled {
            state = self.changed.wait(state).unwrap();
        }
        let (mode, mut delay) = (state.mode, state.delay);
        if let Some(rate) = state.rate {
            delay += Duration::from_secs_f64(bytes as f64 / rate as f64);
        }
        drop(state);
        if !delay.is_zero() {
            thread::sleep(delay);
        }
        mode == Mode::Open
    }

    fn target(&self, real: SocketAddr) -> SocketAddr {
        let state = self.state.lock().unwrap();
        let elsewhere = state.diverted.iter().find(|(port, _)| *port == real.port());
        elsewhere.map_or(real, |(_, to)| *to)
    }

    fn went_down(&self, bytes: u64) {
        let total = self.down.fetch_add(bytes, Ordering::Relaxed) + bytes;
        let cut = self.state.lock().unwrap().cut_after.is_some_and(|limit| total >= limit);
        if cut {
            self.set(Mode::Cut);
        }
    }
}

fn accept(listener: &TcpListener, target: SocketAddr, shared: &Arc<Shared>) {
    for device in listener.incoming() {
        let mode = shared.state.lock().unwrap().mode;
        if mode == Mode::Over {
            return;
        }
        shared.accepted.fetch_add(1, Ordering::Relaxed);
        let Ok(device) = device else { continue };
        if mode == Mode::Cut {
            continue; // closed by being dropped
        }
        let shared = Arc::clone(shared);
        thread::spawn(move || {
            // No control plane listens there: the device sees a connection that ends.
            let _ended = carry(device, target, &shared);
        });
    }
}

fn carry(device: TcpStream, target: SocketAddr, shared: &Arc<Shared>) -> io::Result<()> {
    if !shared.pass(0) {
        return Ok(());
    }
    let target = shared.target(target);
    let plane = TcpStream::connect_timeout(&target, Duration::from_secs(10))?;
    for socket in [&device, &plane] {
        socket.set_nodelay(true)?;
    }
    {
        let mut state = shared.state.lock().unwrap();
        if state.mode == Mode::Cut || state.mode == Mode::Over {
            return Ok(());
        }
        state.sockets.push(device.try_clone()?);
        state.sockets.push(plane.try_clone()?);
    }
    let (device_up, plane_up) = (device.try_clone()?, plane.try_clone()?);
    let upward = Arc::clone(shared);
    thread::spawn(move || {
        pump(device_up, plane_up, &upward, |shared, bytes| {
            shared.up.fetch_add(bytes, Ordering::Relaxed);
        })
    });
    pump(plane, device, shared, Shared::went_down);
    Ok(())
}

fn pump(mut from: TcpStream, mut to: TcpStream, shared: &Shared, count: impl Fn(&Shared, u64)) {
    let mut buffer = [0_u8; 4 * 1024];
    while let Ok(size) = from.read(&mut buffer) {
        if size == 0 || !shared.pass(size as u64) {
            break;
        }
        count(shared, size as u64);
        if let Some(recorded) = &mut shared.state.lock().unwrap().recorded {
            recorded.extend(&buffer[..size]);
        }
        if to.write_all(&buffer[..size]).is_err() {
            break;
        }
    }
    let _ended = to.shutdown(Shutdown::Both);
    let _ended = from.shutdown(Shutdown::Both);
}
