//! Shards on loopback sockets for tests: a server side without HTTP, and clients of two kinds.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::panic)]

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use rtgw::transport::{
    Handoff, Inbox, Outward, Permit, Settings, ShardInput, ShardReport, SocketProtocol, Transport, start,
};
use rtgw_hub::access::{Action, Asker, Rules, Verdict, ask};
use rtgw_hub::{Account, Answer, Ask, Grant, Input, Opening, Question};
use rtgw_model::{
    Admission, ChannelName, ChannelPolicy, Close, ConnectionKey, EndpointIx, Heartbeat, Micros, OutboxLimits,
    Outgoing, Principal, Publication, RuleIx, Timestamp, Variant,
};
use rtgw_protocol::json::Envelope;
use rtgw_protocol::wires::{Protocol, VariantSpec, Wires};
use tokio_tungstenite::tungstenite::{self, protocol::Role};

/// Long enough for a machine under load; reached only by a failure.
pub const PATIENCE: Duration = Duration::from_secs(20);

struct Anything;

impl Rules for Anything {
    fn decide(&self, _: Action, _: &ChannelName, _: &Asker<'_>) -> Option<(Arc<ChannelPolicy>, Verdict)> {
        let policy = ChannelPolicy {
            rule: RuleIx(0),
            pattern: "{x*}".into(),
            permission: 0,
            filters: Box::default(),
            delivery: Default::default(),
            history: None,
            presence: Default::default(),
        };
        Some((Arc::new(policy), Verdict::Allow))
    }
}

fn principal() -> Arc<Principal> {
    Arc::new(Principal {
        user: "".into(),
        tenant: "".into(),
        claims: "".into(),
        ip: IpAddr::from([127, 0, 0, 1]),
        query: "".into(),
        expires: None,
    })
}

pub fn grant(channel: &str) -> Grant {
    let principal = principal();
    let asker = Asker { key: ConnectionKey(1), endpoint: EndpointIx(0), principal: &principal };
    ask(&Anything, Action::Subscribe, channel, &asker).unwrap()
}

/// Answers every question with yes.
#[derive(Default)]
struct Willing {
    inboxes: OnceLock<Vec<Arc<dyn Inbox>>>,
    /// Questions are kept here instead of being answered, while there is a list.
    held: Mutex<Option<Vec<Ask>>>,
    /// A shard that wants a channel goes on only while nobody holds this.
    gate: Mutex<()>,
    wants: AtomicUsize,
}

impl Willing {
    fn post(&self, shard: u16, input: Input) {
        self.inboxes.get().unwrap()[usize::from(shard)].post(ShardInput::Hub(input)).unwrap();
    }

    fn answer(&self, ask: &Ask) {
        let Question::Subscribe(channel) = &ask.question else { panic!("not asked in these tests") };
        self.post(
            ask.connection.shard,
            Input::Answered(ask.connection, Answer::Subscribe(Ok(grant(channel)))),
        );
    }
}

impl Outward for Willing {
    fn ask(&self, ask: Ask) {
        match &mut *self.held.lock().unwrap() {
            Some(held) => held.push(ask),
            None => self.answer(&ask),
        }
    }

    fn want(&self, shard: u16, channel: ChannelName, _: RuleIx) {
        self.wants.fetch_add(1, Ordering::SeqCst);
        drop(self.gate.lock());
        self.post(shard, Input::Ready(channel, None));
    }

    fn unwant(&self, _: u16, _: ChannelName) {}
}

/// Counts itself as long as it lives.
struct Place(Arc<AtomicUsize>);

impl Permit for Place {}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// What a test may want different.
#[derive(Clone)]
pub struct Door {
    pub protocol: SocketProtocol,
    /// Several messages may come in one frame.
    pub batch: bool,
    pub message_bytes: usize,
    pub outbox: OutboxLimits,
    pub heartbeat: Heartbeat,
    pub auto: Vec<&'static str>,
    pub greeting: Option<&'static str>,
    pub read_ahead: Vec<u8>,
    /// The size of the client's receive buffer in the kernel.
    pub client_buffer: Option<usize>,
}

impl Default for Door {
    fn default() -> Self {
        Self {
            protocol: SocketProtocol::Json,
            batch: false,
            message_bytes: 64 << 10,
            outbox: OutboxLimits { bytes: 1 << 20, messages: 100_000 },
            heartbeat: Heartbeat { interval_ms: 25_000, timeout_ms: 60_000, idle_ms: 0 },
            auto: Vec::new(),
            greeting: None,
            read_ahead: Vec::new(),
            client_buffer: None,
        }
    }
}

impl Door {
    pub fn echo() -> Self {
        Self { protocol: SocketProtocol::Echo, ..Self::default() }
    }

    pub fn hears(channel: &'static str) -> Self {
        Self { auto: vec![channel], ..Self::default() }
    }
}

/// Running shards.
pub struct Rig {
    transport: Option<Transport>,
    outward: Arc<Willing>,
    listener: TcpListener,
    variant: Variant,
    variants: usize,
    places: Arc<AtomicUsize>,
}

impl Rig {
    pub fn new() -> Self {
        Self::with(|_| {})
    }

    pub fn with(change: impl FnOnce(&mut Settings)) -> Self {
        Self::on(&Arc::new(Account::new(1, None)), change)
    }

    /// Whose outboxes are on this account.
    pub fn on(memory: &Arc<Account>, change: impl FnOnce(&mut Settings)) -> Self {
        let mut settings = Settings::new(2, 1, 7);
        settings.shards = 1;
        change(&mut settings);
        let wires = Wires::new();
        let spec = VariantSpec {
            protocol: Protocol::Json,
            envelope: Envelope::Raw,
            metadata: false,
            seq: false,
            compression: None,
        };
        let variant = wires.intern(spec).unwrap();
        let outward = Arc::new(Willing::default());
        let (wires, answering) = (Arc::new(wires), outward.clone());
        let transport = start(settings, wires, answering, Arc::default(), memory.clone()).unwrap();
        Self::of(transport, outward, variant)
    }

    /// For a transport that somebody else started, with somebody else's outward side.
    pub fn around(transport: Transport) -> Self {
        Self::of(transport, Arc::default(), Variant(0))
    }

    fn of(transport: Transport, outward: Arc<Willing>, variant: Variant) -> Self {
        assert!(outward.inboxes.set(transport.inboxes.clone()).is_ok());
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        Self {
            transport: Some(transport),
            outward,
            listener,
            variant,
            variants: 1,
            places: Arc::new(AtomicUsize::new(0)),
        }
    }

    pub fn inbox(&self, shard: usize) -> Arc<dyn Inbox> {
        self.outward.inboxes.get().unwrap()[shard].clone()
    }

    /// A client's socket, its other end in shard 0.
    pub fn socket(&self, door: &Door) -> TcpStream {
        let domain = socket2::Domain::IPV4;
        let client = socket2::Socket::new(domain, socket2::Type::STREAM, None).unwrap();
        if let Some(bytes) = door.client_buffer {
            client.set_recv_buffer_size(bytes).unwrap();
        }
        client.connect(&self.listener.local_addr().unwrap().into()).unwrap();
        let client = TcpStream::from(client);
        client.set_nodelay(true).unwrap();
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        client.set_write_timeout(Some(PATIENCE)).unwrap();
        let (stream, _) = self.listener.accept().unwrap();
        self.places.fetch_add(1, Ordering::SeqCst);
        let admission = Admission {
            key: ConnectionKey(1),
            endpoint: EndpointIx(0),
            variant: self.variant,
            batch: door.batch,
            principal: principal(),
            greeting: door.greeting.map(|text| Bytes::from_static(text.as_bytes())),
            heartbeat: door.heartbeat,
            outbox: door.outbox,
            rate: None,
            subscriptions: 100,
        };
        let auto = door.auto.iter().map(|channel| grant(channel)).collect();
        let handoff = Handoff {
            stream,
            read_ahead: Bytes::from(door.read_ahead.clone()),
            opening: Opening { admission, auto },
            protocol: door.protocol,
            deflate: false,
            message_bytes: door.message_bytes,
            permit: Box::new(Place(self.places.clone())),
        };
        self.inbox(0).post(ShardInput::Adopt(Box::new(handoff))).unwrap();
        client
    }

    /// A client that sees bytes.
    pub fn raw(&self, door: &Door) -> Raw {
        Raw { stream: self.socket(door) }
    }

    /// Runs `act` while the only shard stands still in the middle of a turn: what it posts waits for one later turn.
    pub fn while_standing_still(&self, act: impl FnOnce()) {
        let gate = self.outward.gate.lock().unwrap();
        let before = self.outward.wants.load(Ordering::SeqCst);
        let _client = self.raw(&Door::hears("gate"));
        let deadline = Instant::now() + PATIENCE;
        while self.outward.wants.load(Ordering::SeqCst) == before {
            assert!(Instant::now() < deadline, "the shard never wants the channel");
            std::thread::yield_now();
        }
        act();
        drop(gate);
    }

    /// A client by somebody else's library.
    pub fn client(&self, door: &Door) -> tungstenite::WebSocket<TcpStream> {
        tungstenite::WebSocket::from_raw_socket(self.socket(door), Role::Client, None)
    }

    pub fn publication(&self, channel: &str, data: impl Into<Bytes>) -> ShardInput {
        let publication = Publication {
            channels: [ChannelName::parse(channel).unwrap()].into_iter().collect(),
            event: "e".into(),
            data: data.into(),
            timestamp: Timestamp(0),
            tags: Default::default(),
            id: None,
            priority: None,
            positions: Default::default(),
            except: None,
        };
        ShardInput::Hub(Input::Publication(Arc::new(Outgoing::new(publication, self.variants, Micros(0)))))
    }

    pub fn publish(&self, channel: &str, data: impl Into<Bytes>) {
        self.inbox(0).post(self.publication(channel, data)).unwrap();
    }

    /// Keeps questions open until [`Rig::answer_held`].
    pub fn hold_questions(&self) {
        *self.outward.held.lock().unwrap() = Some(Vec::new());
    }

    /// Answers the questions held now; later ones are held again. Returns how many there were.
    pub fn answer_held(&self) -> usize {
        let held = self.outward.held.lock().unwrap().replace(Vec::new()).unwrap();
        held.iter().for_each(|ask| self.outward.answer(ask));
        held.len()
    }

    pub fn report(&self) -> ShardReport {
        let (reply, answer) = tokio::sync::oneshot::channel();
        self.inbox(0).post(ShardInput::Report(reply)).unwrap();
        answer.blocking_recv().unwrap()
    }

    /// Permits held.
    pub fn places(&self) -> usize {
        self.places.load(Ordering::SeqCst)
    }

    /// Waits until the shard's numbers are as wanted.
    pub fn wait(&self, what: &str, mut wanted: impl FnMut(&ShardReport) -> bool) -> ShardReport {
        let start = Instant::now();
        loop {
            let report = self.report();
            if wanted(&report) {
                return report;
            }
            assert!(start.elapsed() < PATIENCE, "waited in vain for {what}: {report:?}");
            std::thread::yield_now();
        }
    }

    pub fn stop(&mut self) {
        if let Some(transport) = self.transport.take() {
            for inbox in &transport.inboxes {
                inbox.post(ShardInput::Stop).unwrap();
            }
            transport.join();
        }
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.stop();
    }
}

/// A client that writes and reads frames by hand.
pub struct Raw {
    pub stream: TcpStream,
}

pub const TEXT: u8 = 1;
pub const BINARY: u8 = 2;
pub const CLOSE: u8 = 8;
pub const PING: u8 = 9;
pub const PONG: u8 = 10;

/// A masked client frame; `first` is FIN, RSV and opcode.
pub fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mask = [0x37, 0xfa, 0x21, 0x3d];
    let mut out = vec![first];
    match payload.len() {
        len @ 0..=125 => out.push(0x80 | len as u8),
        len @ 126..=0xFFFF => {
            out.push(0x80 | 126);
            out.extend_from_slice(&(len as u16).to_be_bytes());
        }
        len => {
            out.push(0x80 | 127);
            out.extend_from_slice(&(len as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(&mask);
    out.extend(payload.iter().enumerate().map(|(at, byte)| byte ^ mask[at % 4]));
    out
}

impl Raw {
    pub fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    pub fn send_frame(&mut self, opcode: u8, payload: &[u8]) {
        self.send(&frame(0x80 | opcode, payload));
    }

    fn exact(&mut self, bytes: &mut [u8]) -> Option<()> {
        match self.stream.read_exact(bytes) {
            Ok(()) => Some(()),
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => None,
            Err(error) => panic!("{error}"),
        }
    }

    /// The next frame's opcode and payload; `None` at the end of the stream.
    pub fn frame(&mut self) -> Option<(u8, Vec<u8>)> {
        let mut header = [0; 2];
        self.exact(&mut header)?;
        assert_eq!(header[0] & 0xF0, 0x80, "a final frame without reserved bits");
        assert_eq!(header[1] & 0x80, 0, "not masked");
        let length = match header[1] {
            126 => {
                let mut length = [0; 2];
                self.exact(&mut length)?;
                usize::from(u16::from_be_bytes(length))
            }
            127 => {
                let mut length = [0; 8];
                self.exact(&mut length)?;
                usize::try_from(u64::from_be_bytes(length)).unwrap()
            }
            short => usize::from(short),
        };
        let mut payload = vec![0; length];
        self.exact(&mut payload)?;
        Some((header[0] & 0x0F, payload))
    }

    pub fn text(&mut self) -> String {
        let (opcode, payload) = self.frame().unwrap();
        assert_eq!(opcode, TEXT, "{}", String::from_utf8_lossy(&payload));
        String::from_utf8(payload).unwrap()
    }

    /// Reads to the close frame, checks that the stream ends there, and returns its code.
    pub fn close_code(&mut self) -> u16 {
        loop {
            let (opcode, payload) = self.frame().expect("a close frame before the end");
            if opcode == CLOSE {
                assert_eq!(self.frame(), None, "nothing follows a close frame");
                return u16::from_be_bytes([payload[0], payload[1]]);
            }
        }
    }
}

/// A close by the server, for `Input::Close`.
pub fn close(code: rtgw_model::CloseCode) -> Close {
    Close::new(code, "")
}
