//! A TCP proxy in front of Redis that does what networks do: delay, swallow, hold, cut, forget.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

/// How bytes travel.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Way {
    /// At once.
    Open,
    /// Each byte late by this much, and no more of them a second than this, both ways.
    Slow { late: Duration, bytes_per_second: u32 },
    /// Nothing moves in either direction, nothing is lost: a cable that is pulled, and put back.
    Held,
    /// What clients send arrives; what Redis answers does not, until the way is open again.
    Deaf,
    /// Connections are reset, new ones too.
    Refused,
}

#[derive(Clone, Copy)]
struct State {
    way: Way,
    target: SocketAddr,
    /// Connections made before the cut with this number are reset.
    cut: u32,
    /// Connections made before this number never move again.
    forgotten: u32,
}

/// Which side the bytes come from.
#[derive(Clone, Copy, PartialEq)]
enum Side {
    Client,
    Redis,
}

/// A proxy on a port of its own; ends with its value.
pub struct Proxy {
    address: SocketAddr,
    state: watch::Sender<State>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Proxy {
    /// Stands in front of `target`.
    pub async fn start(target: SocketAddr) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (state, watched) = watch::channel(State { way: Way::Open, target, cut: 0, forgotten: 0 });
        let task = tokio::spawn(async move {
            loop {
                if let Ok((client, _)) = listener.accept().await {
                    tokio::spawn(carry(client, watched.clone()));
                }
            }
        });
        Self { address, state, task }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How bytes travel from now on. [`Way::Refused`] also cuts.
    pub fn set(&self, way: Way) {
        self.state.send_modify(|state| {
            state.way = way;
            state.cut += u32::from(way == Way::Refused);
        });
    }

    /// Resets every connection; new ones go to `target`.
    pub fn repoint(&self, target: SocketAddr) {
        self.state.send_modify(|state| {
            state.target = target;
            state.cut += 1;
        });
    }

    /// Resets every connection.
    pub fn cut(&self) {
        self.state.send_modify(|state| state.cut += 1);
    }

    /// Carries nothing more on the present connections, without a word to either side, as a firewall that lost its table.
    pub fn forget(&self) {
        self.state.send_modify(|state| state.forgotten += 1);
    }
}

async fn carry(client: TcpStream, mut state: watch::Receiver<State>) {
    let born = *state.borrow_and_update();
    // Of those that end, most are to end as if the network had done it.
    drop(SockRef::from(&client).set_linger(Some(Duration::ZERO)));
    if born.way == Way::Refused {
        return;
    }
    let Ok(redis) = TcpStream::connect(born.target).await else { return };
    drop(client.set_nodelay(true));
    drop(redis.set_nodelay(true));
    let (client_reads, client_writes) = client.into_split();
    let (redis_reads, redis_writes) = redis.into_split();
    let gate = |side| Gate { side, forgotten: born.forgotten, state: state.clone() };
    let there = pump(client_reads, redis_writes, gate(Side::Client));
    let back = pump(redis_reads, client_writes, gate(Side::Redis));
    tokio::select! {
        () = there => {}
        () = back => {}
        _ = state.wait_for(|now| now.cut != born.cut) => {}
    }
}

/// What holds the bytes of one direction back.
struct Gate {
    side: Side,
    forgotten: u32,
    state: watch::Receiver<State>,
}

impl Gate {
    fn open(&self, now: &State) -> bool {
        let held = now.way == Way::Held || (now.way == Way::Deaf && self.side == Side::Redis);
        !held && now.forgotten == self.forgotten
    }

    /// Waits until bytes may leave; how late they are, and how many a second may go.
    async fn pass(&mut self) -> Option<(Duration, u32)> {
        let mut state = self.state.clone();
        let now = *state.wait_for(|now| self.open(now)).await.ok()?;
        match now.way {
            Way::Slow { late, bytes_per_second } => Some((late, bytes_per_second)),
            _ => Some((Duration::ZERO, u32::MAX)),
        }
    }
}

/// Reads without waiting for the other side, so that a delay delays and does not throttle; the queue is bounded as a network is.
async fn pump(mut from: OwnedReadHalf, to: OwnedWriteHalf, gate: Gate) {
    let (sender, receiver) = mpsc::channel::<(Instant, Vec<u8>)>(256);
    let reads = async move {
        let mut chunk = vec![0; 16 * 1024];
        while let Ok(read @ 1..) = from.read(&mut chunk).await {
            if sender.send((Instant::now(), chunk[..read].to_vec())).await.is_err() {
                return;
            }
        }
    };
    let writes = write(receiver, to, gate);
    tokio::pin!(writes);
    tokio::select! {
        () = &mut writes => {}
        // An end of the input does not overtake what was read before it.
        () = reads => writes.await,
    }
}

async fn write(mut queue: mpsc::Receiver<(Instant, Vec<u8>)>, mut to: OwnedWriteHalf, mut gate: Gate) {
    while let Some((came, bytes)) = queue.recv().await {
        let Some((late, bytes_per_second)) = gate.pass().await else { return };
        tokio::time::sleep_until(came + late).await;
        if bytes_per_second < u32::MAX {
            let takes = bytes.len() as f64 / f64::from(bytes_per_second);
            tokio::time::sleep(Duration::from_secs_f64(takes)).await;
        }
        // The way may have closed while these bytes were on it.
        if gate.pass().await.is_none() || to.write_all(&bytes).await.is_err() {
            return;
        }
    }
}
