//! Start and end of the process.

use serde_json::json;

use crate::program;
use mcp_bridge_testkit::{
    app::{INITIALIZED, initialize_line},
    fault_server::FaultServer,
    mcp::Binding,
    reply::{Gate, Reply},
    request::{call, delete, get, post, rpc},
};

/// Long enough for an answer that is on its way, short enough for a test.
const SHORT_DRAIN: [&str; 2] = ["--drain-timeout", "0.2"];

/// A request the server never answers.
fn never_answer(server: &FaultServer, tool: &str) {
    server.always(call(tool), |_| Reply::no_answer_ever());
}

/// ST-28
#[tokio::test]
async fn nothing_is_sent_before_the_first_message_of_the_app() {
    let server = FaultServer::start();
    let mut app = program::start(&server);
    // The refusal of this line shows that the bridge is up.
    app.send("not JSON").await;
    app.error_without_id().await;
    assert_eq!(server.connections(), 0);
    app.initialize().await;
    let first = server.received(post(), 1).await;
    assert_eq!(first.rpc_method(), "initialize");
    app.finish().await;
}

/// X-18
#[tokio::test]
async fn an_end_of_stdin_at_once_is_a_quiet_end() {
    let server = FaultServer::start();
    let mut app = program::start(&server);
    app.close_stdin();
    let finished = app.finish().await;
    assert!(finished.unread.is_empty());
    assert_eq!(server.connections(), 0);
}

/// X-19, ST-20, ST-21, HL-8
#[tokio::test]
async fn answers_in_flight_are_awaited_after_the_end_of_stdin_and_the_session_is_deleted() {
    let server = FaultServer::start();
    let gate = Gate::closed();
    let held = gate.clone();
    server.always(call("slow"), move |request| {
        Reply::sse().wait(&held).data(request.echo())
    });
    let mut app = program::initialized(&server).await;
    for id in 1..=3 {
        app.call(id, "slow", "late").await;
    }
    server.received(call("slow"), 3).await;
    server.received(get(), 1).await;
    app.close_stdin();
    gate.open();
    for id in 1..=3 {
        app.result(id).await;
    }
    app.finish().await;
    assert_eq!(server.count(&delete()), 1);
}

/// X-19, ST-20
#[tokio::test]
async fn answers_that_do_not_come_hold_the_end_up_for_a_bounded_time_only() {
    let server = FaultServer::start();
    never_answer(&server, "stuck");
    let mut app = program::bridge_for(&server).args(SHORT_DRAIN).start();
    app.initialize().await;
    for id in 1..=3 {
        app.call(id, "stuck", "").await;
    }
    server.received(call("stuck"), 3).await;
    app.close_stdin();
    app.finish().await;
    assert_eq!(server.count(&delete()), 1);
}

/// ST-21
#[tokio::test]
async fn a_conversation_that_is_piped_in_at_once_is_answered_whole() {
    let server = FaultServer::start();
    let mut app = program::start(&server);
    let list = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#;
    app.send_all(&[&initialize_line("2025-06-18"), INITIALIZED, list])
        .await;
    app.close_stdin();
    app.result("init").await;
    app.result(1).await;
    app.finish().await;
    assert_eq!(server.count(&delete()), 1);
}

/// ST-21: the last line may lack its end.
#[tokio::test]
async fn a_last_line_without_its_end_is_a_message() {
    let server = FaultServer::start_as(Binding::Stateless);
    let mut app = program::start(&server);
    app.send(r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#)
        .await;
    app.result(1).await;
    app.write(br#"{"jsonrpc":"2.0","method":"vendor/last"}"#)
        .await;
    app.close_stdin();
    app.finish().await;
    assert_eq!(server.count(&rpc("vendor/last")), 1);
}

/// HL-8
#[tokio::test]
async fn a_delete_that_is_refused_or_never_answered_does_not_hold_the_end_up() {
    for reply in [
        || Reply::status(405),
        Reply::no_answer_ever,
        Reply::no_answer_but_reset,
    ] {
        let server = FaultServer::start();
        server.always(delete(), move |_| reply());
        let app = program::initialized(&server).await;
        app.finish().await;
        assert_eq!(server.count(&delete()), 1);
    }
}

/// HL-5, HL-8
#[tokio::test]
async fn without_a_session_nothing_is_deleted() {
    let server = FaultServer::start_as(Binding::Stateless);
    let mut app = program::initialized(&server).await;
    app.still_served().await;
    app.finish().await;
    assert_eq!(server.count(&delete()), 0);
    let with_session = |request: &&mcp_bridge_testkit::request::Request| {
        request.header("mcp-session-id").is_some()
    };
    assert_eq!(server.requests().iter().filter(with_session).count(), 0);
}

/// B17: whatever the bridge is waiting for.
#[tokio::test]
async fn the_end_of_stdin_is_noticed_while_initialize_is_not_answered() {
    let server = FaultServer::start();
    server.always(rpc("initialize"), |_| Reply::no_answer_ever());
    let mut app = program::bridge_for(&server).args(SHORT_DRAIN).start();
    app.send(initialize_line("2025-06-18")).await;
    server.received(rpc("initialize"), 1).await;
    app.close_stdin();
    app.finish().await;
}

/// B17
#[tokio::test]
async fn the_end_of_stdin_is_noticed_while_the_server_is_down() {
    let server = FaultServer::start_down(Binding::Streamable);
    let mut app = program::bridge_for(&server).args(SHORT_DRAIN).start();
    app.send(initialize_line("2025-06-18")).await;
    app.send(r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#)
        .await;
    app.close_stdin();
    app.finish().await;
}

/// B17
#[tokio::test]
async fn the_end_of_stdin_is_noticed_while_a_retry_is_due() {
    let server = FaultServer::start();
    server.always(rpc("tools/list"), |_| {
        Reply::status(503).header("Retry-After", "2")
    });
    let mut app = program::bridge_for(&server).args(SHORT_DRAIN).start();
    app.initialize().await;
    app.send(r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#)
        .await;
    server.received(rpc("tools/list"), 1).await;
    app.close_stdin();
    app.finish().await;
}

/// X-21, ST-22
#[cfg(unix)]
#[tokio::test]
async fn a_signal_ends_the_process_and_the_session_with_a_call_in_flight() {
    use rustix::process::Signal;

    for signal in [Signal::TERM, Signal::INT, Signal::HUP] {
        let server = FaultServer::start();
        never_answer(&server, "stuck");
        let mut app = program::initialized(&server).await;
        app.call(1, "stuck", "").await;
        server.received(call("stuck"), 1).await;
        app.signal(signal);
        app.finish().await;
        assert_eq!(server.count(&delete()), 1, "{signal:?}");
    }
}

/// X-21
#[cfg(unix)]
#[tokio::test]
async fn a_second_signal_ends_the_process_although_the_server_does_not_answer() {
    use rustix::process::Signal;

    let server = FaultServer::start();
    server.always(delete(), |_| Reply::no_answer_ever());
    let mut app = program::initialized(&server).await;
    app.signal(Signal::TERM);
    server.received(delete(), 1).await;
    app.signal(Signal::TERM);
    app.finish().await;
}

/// X-22, ST-24
#[tokio::test]
async fn a_closed_stdout_is_the_end_and_not_a_panic() {
    let server = FaultServer::start();
    let gate = Gate::closed();
    let held = gate.clone();
    server.always(call("slow"), move |request| {
        Reply::sse().wait(&held).data(request.echo()).stall()
    });
    let mut app = program::initialized(&server).await;
    app.call(1, "slow", "nobody reads this").await;
    server.received(call("slow"), 1).await;
    app.close_stdout().await;
    gate.open();
    app.ends_by_itself().await;
    app.finish().await;
    assert_eq!(server.count(&delete()), 1);
}

/// X-23
#[tokio::test]
async fn an_app_that_does_not_read_stops_the_server_and_not_its_own_cancellation() {
    const NOTE: usize = 64 << 10;
    const NOTES: usize = 768;
    let server = FaultServer::start();
    server.always(call("flood"), |request| {
        let text = "x".repeat(NOTE);
        let note = json!({"jsonrpc": "2.0", "method": "vendor/note", "params": {"text": text}});
        let note = note.to_string();
        let flood = (0..NOTES).fold(Reply::sse(), |reply, _| reply.data(&note));
        flood.data(request.echo())
    });
    never_answer(&server, "stuck");
    let mut app = program::initialized(&server).await;
    app.call(1, "stuck", "").await;
    server.received(call("stuck"), 1).await;
    app.stop_reading_stdout();
    app.call(2, "flood", "at last").await;
    server.write_stands_still().await;
    app.cancel(1).await;
    server.received(rpc("notifications/cancelled"), 1).await;
    app.read_stdout();
    for _ in 0..NOTES {
        app.server_sent("vendor/note").await;
    }
    assert_eq!(app.result(2).await["content"][0]["text"], "at last");
    app.finish().await;
}

/// X-24, ST-25
#[cfg(target_os = "linux")]
#[tokio::test]
async fn the_death_of_the_parent_is_noticed_although_the_pipes_stay_open() {
    use rustix::process::Signal;

    let server = FaultServer::start();
    // The shell is the parent that dies; this test holds the other ends of the pipes.
    let script = r#"exec 3<&0; "$0" "$@" <&3 3<&- & exec 3<&- <&-; wait"#;
    let mut app = program::bridge_for(&server).through_shell(script).start();
    app.initialize().await;
    app.still_served().await;
    app.signal(Signal::KILL);
    app.stdout_ends().await;
    app.finish().await;
    assert_eq!(server.count(&delete()), 1);
}

/// The longest wait that an idle process asks the kernel for says whether anything ticks.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn an_idle_bridge_has_no_periodic_timer() {
    use std::time::Duration;

    use mcp_bridge_testkit::soon;

    /// Nothing that is periodic has a longer period; the first look at unused connections comes later.
    const LONG: Duration = Duration::from_secs(30);
    /// Pause before another look at the process.
    const LOOK: Duration = Duration::from_millis(25);

    let server = FaultServer::start();
    let mut app = program::initialized(&server).await;
    app.still_served().await;
    let rests = async {
        while wait_of(app.pid()).is_none_or(|wait| wait < LONG) {
            tokio::time::sleep(LOOK).await;
        }
    };
    soon("a long wait", rests).await;
    app.finish().await;
}

/// Each thread costs memory and time at the start. The first session stores what the server has said of itself, and takes one
/// that may wait for the disk.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_session_without_a_sign_in_has_one_thread() {
    let server = FaultServer::start();
    let home = tempfile::tempdir().expect("a directory");
    let mut threads = 0;
    for _ in 0..2 {
        let launch = program::bridge_for(&server).with(|it| it.home(home.path()));
        let mut app = launch.start();
        app.initialize().await;
        app.still_served().await;
        let tasks = std::fs::read_dir(format!("/proc/{}/task", app.pid()));
        threads = tasks.expect("it is running").count();
        app.finish().await;
    }
    assert_eq!(threads, 1);
}

/// The time that a process has told `epoll_wait` to wait for at most, if that is where it is: the fourth argument of the system
/// call, in milliseconds (`proc_pid_syscall(5)`).
#[cfg(target_os = "linux")]
fn wait_of(pid: u32) -> Option<std::time::Duration> {
    const EPOLL_WAIT: [&str; 3] = ["232", "281", "22"];

    let call = std::fs::read_to_string(format!("/proc/{pid}/syscall")).expect("it is running");
    let words: Vec<&str> = call.split_whitespace().collect();
    let (number, timeout) = (words.first()?, words.get(4)?);
    if !EPOLL_WAIT.contains(number) {
        return None;
    }
    let bits = u64::from_str_radix(timeout.strip_prefix("0x")?, 16).ok()?;
    // An `int`, of which -1 means without end.
    let wait = u32::try_from(bits & u64::from(u32::MAX)).ok()?;
    Some(std::time::Duration::from_millis(wait.into()))
}
