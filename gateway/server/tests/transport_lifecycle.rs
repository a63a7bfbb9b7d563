//! Slow readers, back-pressure, signals, and what is left when everyone has gone.
#![allow(clippy::unwrap_used, clippy::panic)]

mod transport_support;

use std::process::Command;
use std::time::Duration;

use rtgw::transport::ShardInput;
use rtgw_hub::Input;
use rtgw_model::{Close, CloseCode, ConnectionId, OutboxLimits};
use transport_support::{Door, Rig, TEXT, frame};

#[test]
fn a_slow_reader_ends_alone() {
    let rig = Rig::new();
    let slow_door = Door {
        outbox: OutboxLimits { bytes: 64 << 10, messages: 1_000 },
        client_buffer: Some(4_096),
        ..Door::hears("jobs")
    };
    let patient_door =
        Door { outbox: OutboxLimits { bytes: 8 << 20, messages: 10_000 }, ..Door::hears("jobs") };
    let mut slow = rig.raw(&slow_door);
    let mut others: Vec<_> = (0..20).map(|_| rig.raw(&patient_door)).collect();
    let data = |number: usize| format!("\"{number}:{}\"", "x".repeat(1_000));
    let count = 2_000;
    std::thread::scope(|scope| {
        for other in &mut others {
            scope.spawn(move || (0..count).for_each(|number| assert_eq!(other.text(), data(number))));
        }
        (0..count).for_each(|number| rig.publish("jobs", data(number)));
    });
    let mut heard = 0;
    let code = loop {
        let (opcode, payload) = slow.frame().expect("a close frame before the end");
        if opcode != TEXT {
            break u16::from_be_bytes([payload[0], payload[1]]);
        }
        assert_eq!(payload, data(heard).into_bytes(), "no hole before the close");
        heard += 1;
    };
    assert_eq!(code, CloseCode::SlowConsumer.code());
    assert!(heard < count, "the slow reader was never behind");
    let report = rig.wait("the end of the slow one", |report| report.sockets == 20);
    assert_eq!(report.counters.outbound_bytes, 0);
}

#[test]
fn a_client_that_asks_without_reading_is_not_read() {
    let rig = Rig::new();
    let limits = OutboxLimits { bytes: 256 << 10, messages: 100_000 };
    let mut client = rig.raw(&Door { outbox: limits, client_buffer: Some(4_096), ..Door::echo() });
    let messages = 4_000;
    let payload = |number: usize| format!("{number:04}{}", "x".repeat(4_000));
    let mut writer = client.stream.try_clone().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            for number in 0..messages {
                std::io::Write::write_all(&mut writer, &frame(0x80 | TEXT, payload(number).as_bytes()))
                    .unwrap();
            }
        });
        rig.wait("a full outbox", |report| report.counters.outbound_bytes > 128 << 10);
        let read = || rig.report().bytes_in[0];
        let before = rig.wait("an end of reading", |_| {
            let before = read();
            std::thread::sleep(Duration::from_millis(20));
            before == read()
        });
        assert!(before.bytes_in[0] < 16_000_000, "everything was read");
        for number in 0..messages {
            assert_eq!(client.text(), payload(number));
        }
    });
    let report = rig.report();
    assert_eq!((report.sockets, report.counters.outbound_bytes), (1, 0));
}

#[test]
fn commands_behind_an_open_question_wait_in_the_kernel() {
    let rig = Rig::new();
    rig.hold_questions();
    let mut client = rig.raw(&Door::default());
    let subscribe = |number: usize| {
        let text = format!("{{\"type\":\"subscribe\",\"data\":{{\"channel\":\"c{}\"}}}}", number % 90);
        frame(0x80 | TEXT, text.as_bytes())
    };
    let commands: Vec<u8> = (0..5_000).flat_map(subscribe).collect();
    let mut writer = client.stream.try_clone().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(move || std::io::Write::write_all(&mut writer, &commands).unwrap());
        scope.spawn(|| {
            for number in 0..5_000 {
                let answer = client.text();
                assert!(answer.contains(&format!("\"c{}\"", number % 90)), "{number}: {answer}");
            }
            client.send_frame(TEXT, b"ping");
            assert!(client.text().contains("\"pong\""));
        });
        rig.wait("all answers", |report| {
            rig.answer_held();
            report.counters.commands.values().sum::<u64>() == 5_001
        });
    });
}

#[test]
fn a_reset_is_noticed_while_nothing_is_read() {
    let rig = Rig::new();
    rig.hold_questions();
    let mut client = rig.raw(&Door::default());
    let subscribe = frame(0x80 | TEXT, b"{\"type\":\"subscribe\",\"data\":{\"channel\":\"c\"}}");
    client.send(&subscribe.repeat(100));
    rig.wait("the bytes", |report| report.bytes_in[0] == 100 * subscribe.len() as u64);
    socket2::SockRef::from(&client.stream).set_linger(Some(Duration::ZERO)).unwrap();
    drop(client);
    rig.wait("the end", |report| report.sockets == 0 && report.counters.connections == [0, 0]);
    assert_eq!(rig.places(), 0);
}

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

#[test]
fn a_thousand_who_came_and_went_leave_nothing() {
    let rig = Rig::new();
    rig.report();
    let status = || std::fs::read_to_string("/proc/self/status").unwrap();
    assert!(status().contains("Threads"));
    let rounds = [
        |client: &mut transport_support::Raw| client.send_frame(transport_support::CLOSE, b"\x03\xe8"),
        |client: &mut transport_support::Raw| client.send(&[0xFF; 40]),
        |client: &mut transport_support::Raw| {
            client.send_frame(TEXT, b"ping");
            socket2::SockRef::from(&client.stream).set_linger(Some(Duration::ZERO)).unwrap();
        },
        |_: &mut transport_support::Raw| {},
    ];
    for part in rounds {
        let clients: Vec<_> = (0..250).map(|_| rig.raw(&Door::hears("jobs"))).collect();
        rig.wait("all", |report| report.sockets == 250);
        assert_eq!(rig.places(), 250);
        rig.publish("jobs", "1");
        for mut client in clients {
            part(&mut client);
        }
        let gone = rig.wait("nobody", |report| report.sockets == 0 && report.lingering == 0);
        assert_eq!(rig.places(), 0);
        assert_eq!(gone.counters.connections, [0, 0]);
        assert_eq!(gone.counters.closing, [0, 0]);
        assert_eq!(gone.counters.subscriptions, [0]);
        assert_eq!(gone.counters.outbound_bytes, 0);
    }
    // Other tests of this file share the process, so the shard's own number is the proof; this one catches a gross leak.
    assert!(descriptors() < 600, "{} descriptors", descriptors());
}

#[test]
fn a_client_that_ignores_its_close_is_dropped_after_a_while() {
    let rig = Rig::new();
    let mut client = rig.raw(&Door::default());
    rig.wait("the connection", |report| report.sockets == 1);
    let id = ConnectionId { shard: 0, slot: 0, generation: 0 };
    let close = Close::new(CloseCode::Forbidden, "out");
    rig.inbox(0).post(ShardInput::Hub(Input::Close(id, close))).unwrap();
    assert_eq!(client.close_code(), CloseCode::Forbidden.code());
    rig.wait("the end of its session", |report| report.sockets == 0);
    assert_eq!(rig.places(), 0, "the place is free as soon as the session is over");
    // The client keeps its side open all the time.
    rig.wait("the end of its socket", |report| report.lingering == 0);
    drop(client);
}

#[test]
fn an_interrupted_poll_is_no_failure() {
    let rig = Rig::new();
    let mut client = rig.raw(&Door::hears("jobs"));
    rig.wait("the connection", |report| report.sockets == 1);
    // Stopping and continuing a process ends every epoll_wait in it with EINTR (signal(7)), handlers or not.
    let script =
        format!("for i in 1 2 3; do kill -STOP {0}; kill -CONT {0}; sleep 0.05; done", std::process::id());
    assert!(Command::new("sh").args(["-c", &script]).status().unwrap().success());
    rig.publish("jobs", "1");
    assert_eq!(client.text(), "1");
}
