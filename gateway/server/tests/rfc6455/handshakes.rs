//! Handshakes as data: requests that differ from a good one, and their answers.

use std::io::{Read, Write};
use std::net::SocketAddr;

use serde_json::Value;

use super::client::{Client, Failed, header, read_head};

/// A request and its answer.
#[derive(Debug)]
pub struct Handshake {
    pub name: String,
    edits: Vec<Edit>,
    body: Vec<u8>,
    status: u16,
    code: Option<String>,
    headers: Vec<(String, Option<String>)>,
}

#[derive(Debug)]
enum Edit {
    Line(String),
    Remove(String),
    Add(String),
    Replace(String),
}

/// Reads the file of handshakes.
pub fn parse(text: &str) -> Vec<Handshake> {
    let mut all: Vec<Handshake> = Vec::new();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            let (name, edits, body) = (format!("handshakes: {name}"), Vec::new(), Vec::new());
            all.push(Handshake { name, edits, body, status: 0, code: None, headers: Vec::new() });
            continue;
        }
        let one = all.last_mut().unwrap();
        let (word, rest) = line.split_once(' ').unwrap_or_else(|| panic!("a word and its value: {line}"));
        let value = repeated(rest);
        match word {
            "line" => one.edits.push(Edit::Line(value)),
            "-" => one.edits.push(Edit::Remove(value)),
            "+" => one.edits.push(Edit::Add(value)),
            "=" => one.edits.push(Edit::Replace(value)),
            "body" => {
                one.body = (0..rest.len())
                    .step_by(2)
                    .map(|at| u8::from_str_radix(&rest[at..at + 2], 16).unwrap())
                    .collect();
            }
            "<" if rest.starts_with('-') => one.headers.push((rest[1..].to_owned(), None)),
            "<" => match rest.split_once(": ") {
                Some((name, value)) => one.headers.push((name.to_owned(), Some(value.to_owned()))),
                None => {
                    let (status, code) =
                        rest.split_once(' ').map_or((rest, None), |(status, code)| (status, Some(code)));
                    one.status = status.parse().unwrap();
                    one.code = code.map(str::to_owned);
                }
            },
            _ => panic!("unknown word: {line}"),
        }
    }
    assert!(all.iter().all(|one| one.status != 0), "every handshake has an answer");
    all
}

/// `{61*3}` to `aaa`.
fn repeated(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, (item, after))) =
        rest.split_once('{').and_then(|(b, r)| Some((b, r.split_once('}')?)))
    {
        let (byte, times) = item.split_once('*').unwrap();
        let byte = char::from(u8::from_str_radix(byte, 16).unwrap());
        out.push_str(before);
        out.extend(std::iter::repeat_n(byte, times.parse().unwrap()));
        rest = after;
    }
    out + rest
}

impl Handshake {
    /// Sends the request and judges the answer; after a 101 the connection must work.
    pub fn run(&self, server: SocketAddr) -> Result<(), Failed> {
        if self.status == 101 {
            let mut client = Client::over(server, &self.request(server))?;
            self.judge_head(&client.head)?;
            return client.fence();
        }
        let mut stream = Client::dial(server)?;
        stream.write_all(&self.request(server)).map_err(|error| format!("write: {error}"))?;
        let head = read_head(&mut stream)?;
        let status = head.split(' ').nth(1).and_then(|status| status.parse::<u16>().ok());
        if status != Some(self.status) {
            return Err(format!("expected {}, got {head}", self.status));
        }
        self.judge_head(&head)?;
        let Some(code) = &self.code else { return Ok(()) };
        let length =
            header(&head, "content-length").and_then(|value| value.parse().ok()).ok_or("no length")?;
        let mut body = vec![0; length];
        stream.read_exact(&mut body).map_err(|error| format!("body: {error}"))?;
        let value: Value = serde_json::from_slice(&body).map_err(|error| error.to_string())?;
        let message = value["error"]["message"].as_str().unwrap_or_default();
        if value["error"]["code"] != code.as_str() || message.is_empty() {
            return Err(format!("expected the code {code}, got {value}"));
        }
        match header(&head, "content-type") {
            Some("application/json") => Ok(()),
            other => Err(format!("the content type is {other:?}")),
        }
    }

    fn judge_head(&self, head: &str) -> Result<(), Failed> {
        for (name, wanted) in &self.headers {
            let value = header(head, name);
            if value != wanted.as_deref() {
                return Err(format!("{name} is {value:?}, not {wanted:?}"));
            }
        }
        Ok(())
    }

    fn request(&self, server: SocketAddr) -> Vec<u8> {
        let good = Client::request(server, "/json", None);
        let mut lines: Vec<String> = good.trim_end().split("\r\n").map(str::to_owned).collect();
        let named = |line: &str, name: &str| {
            line.split(':').next().is_some_and(|found| found.eq_ignore_ascii_case(name))
        };
        for edit in &self.edits {
            match edit {
                Edit::Line(line) => lines[0].clone_from(line),
                Edit::Remove(name) => lines.retain(|line| !named(line, name)),
                Edit::Add(line) => lines.push(line.clone()),
                Edit::Replace(line) => {
                    lines.retain(|other| !named(other, line.split(':').next().unwrap_or_default()));
                    lines.push(line.clone());
                }
            }
        }
        let mut request = (lines.join("\r\n") + "\r\n\r\n").into_bytes();
        request.extend(&self.body);
        request
    }
}
