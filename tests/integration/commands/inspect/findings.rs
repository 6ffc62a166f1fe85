//! Findings of `doctor` on the page.

use reqwest::StatusCode;
use serde_json::Value;

use super::Inspector;
use mcp_bridge_testkit::authorization_server::AuthorizationServer;
use mcp_bridge_testkit::fault_server::FaultServer;
use mcp_bridge_testkit::reply::Reply;
use mcp_bridge_testkit::request::{Request, rpc};
use mcp_bridge_testkit::secrets;

/// The findings, of which the last is the outcome.
async fn findings(inspector: &Inspector, cookie: &str) -> Vec<Value> {
    let examined = inspector.post(cookie, "/findings", String::new()).await;
    assert_eq!(examined.status(), StatusCode::OK);
    assert_eq!(examined.headers()["content-type"], "application/jsonl");
    let text = examined.text().await.expect("text");
    assert_eq!(secrets::shown_in(&text), None, "{text}");
    let lines = text.lines().map(serde_json::from_str);
    lines.collect::<Result<_, _>>().expect("lines of JSON")
}

fn check<'a>(findings: &'a [Value], name: &str) -> &'a Value {
    let found = findings.iter().find(|check| check["name"] == name);
    found.unwrap_or_else(|| panic!("no {name}: {findings:#?}"))
}

#[tokio::test]
async fn the_checks_of_doctor_come_with_their_part_and_a_verdict_and_can_be_run_again() {
    let server = FaultServer::start();
    server.allow_requests(200);
    let inspector = Inspector::of_server(&server).await;
    let cookie = inspector.cookie().await;
    server.received(rpc("notifications/initialized"), 1).await;
    for _ in 0..2 {
        let all = findings(&inspector, &cookie).await;
        let endpoint = check(&all, "endpoint");
        assert_eq!(endpoint["part"], "Connection");
        assert_eq!(endpoint["outcome"], "passed");
        assert_eq!(check(&all, "token")["outcome"], "skipped");
        let end = all.last().expect("an end");
        assert_eq!(end["outcome"], "passed", "{all:#?}");
        assert!(end["verdict"].as_str().is_some(), "{end}");
    }
}

#[tokio::test]
async fn a_failure_has_its_hint() {
    let server = FaultServer::start();
    let inspector = Inspector::of_server(&server).await;
    let cookie = inspector.cookie().await;
    server.received(rpc("notifications/initialized"), 1).await;
    server.always(rpc("initialize"), |_: &Request| {
        Reply::status(200).body("text/html", "<html>")
    });
    let all = findings(&inspector, &cookie).await;
    let endpoint = check(&all, "endpoint");
    assert_eq!(endpoint["outcome"], "failed");
    assert!(endpoint["fix"].as_str().is_some(), "{endpoint}");
    let end = all.last().expect("an end");
    assert_eq!(end["outcome"], "failed");
}

/// The examination uses the token that the page has signed in for.
#[tokio::test]
async fn the_token_of_the_page_is_examined_and_not_shown() {
    let server = AuthorizationServer::start().await;
    let inspector = Inspector::start(&[server.mcp_url().as_str(), "--store", "memory"]).await;
    let cookie = inspector.cookie().await;
    inspector.signs_in(&cookie).await;
    let all = findings(&inspector, &cookie).await;
    assert_eq!(check(&all, "token")["outcome"], "passed", "{all:#?}");
}
