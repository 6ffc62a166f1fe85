//! Ledger of what the app wrote and read, with the invariants of every test.

use std::collections::BTreeMap;

use serde_json::value::RawValue;

use crate::{
    envelope::Envelope,
    secrets,
    transcript::{Sent, Transcript},
};

/// The account of one conversation: what is owed, what was paid, and what went wrong.
#[derive(Debug, Default)]
pub struct Ledger {
    accounts: BTreeMap<String, Account>,
    violations: Vec<String>,
    transcript: Transcript,
}

#[derive(Debug, Default)]
struct Account {
    asked: usize,
    answered: usize,
    cancelled: bool,
}

impl Ledger {
    /// Enters a line that the app writes; an array counts as its members.
    pub fn write(&mut self, line: &str) {
        if let Ok(batch) = serde_json::from_str::<Vec<Box<RawValue>>>(line) {
            for member in &batch {
                self.write(member.get());
            }
            return;
        }
        let Some(message) = Envelope::parse(line) else {
            return;
        };
        self.transcript.write(&message);
        if message.method().as_deref() == Some("notifications/cancelled") {
            self.cancel(&message);
        }
        let Some(id) = message.id().filter(|_| message.is_owed_an_answer()) else {
            return;
        };
        let account = self.accounts.entry(id.to_owned()).or_default();
        // An id that is written again while it is unanswered is owed one answer, not two.
        if account.asked == account.answered {
            account.asked += 1;
        }
    }

    fn cancel(&mut self, message: &Envelope) {
        #[derive(serde::Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Cancelled {
            request_id: Box<RawValue>,
        }
        let params = message.params().unwrap_or_default();
        if let Ok(cancelled) = serde_json::from_str::<Cancelled>(params)
            && let Some(account) = self.accounts.get_mut(cancelled.request_id.get())
        {
            account.cancelled = true;
        }
    }

    /// Enters a line that the bridge wrote to stdout, and judges it.
    pub fn read(&mut self, line: &[u8], complete: bool) {
        if !complete {
            self.violate("the last line on stdout has no end", line);
        }
        let Ok(text) = std::str::from_utf8(line) else {
            self.violate("a line on stdout is not UTF-8", line);
            return;
        };
        if let Some(secret) = secrets::shown_in(text) {
            self.violate(&format!("stdout shows {secret}"), line);
        }
        let Some(message) = Envelope::parse(text) else {
            self.violate("a line on stdout is not one JSON-RPC message", line);
            return;
        };
        self.transcript.read(text, &message);
        if message.jsonrpc.as_deref().map(RawValue::get) != Some("\"2.0\"") {
            self.violate("a line on stdout is not JSON-RPC 2.0", line);
        }
        match (message.method(), message.is_response(), message.id()) {
            (Some(_), false, _) => {}
            (None, true, Some("null")) if message.error().is_some() => {}
            (None, true, Some(id)) => self.settle(id, line),
            _ => self.violate("a line on stdout is neither request nor response", line),
        }
    }

    fn settle(&mut self, id: &str, line: &[u8]) {
        match self.accounts.get_mut(id) {
            Some(account) if account.answered < account.asked => account.answered += 1,
            Some(_) => self.violate("a request was answered twice", line),
            None => self.violate("an answer to no request", line),
        }
    }

    /// Faults of the messages that the server did not send just so.
    pub fn invalid_messages(&self, sent: &Sent) -> Vec<String> {
        self.transcript.faults(sent)
    }

    fn violate(&mut self, what: &str, line: &[u8]) {
        const SHOWN: usize = 300;
        let shown = String::from_utf8_lossy(&line[..line.len().min(SHOWN)]).into_owned();
        self.violations.push(format!("{what}: {shown}"));
    }

    /// The ids of requests that still wait for their answer and were not cancelled.
    pub fn unanswered(&self) -> Vec<String> {
        let owed = |account: &Account| account.answered < account.asked && !account.cancelled;
        let ids = self.accounts.iter().filter(|(_, account)| owed(account));
        ids.map(|(id, _)| id.clone()).collect()
    }

    /// Number of requests that were written so far.
    pub fn asked(&self) -> usize {
        self.accounts.values().map(|account| account.asked).sum()
    }

    /// Violations of the protocol so far.
    pub fn violations(&self) -> &[String] {
        &self.violations
    }
}
