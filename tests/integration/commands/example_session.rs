//! The commands about tools at the example server, with a person who signs in: whole outputs.

#![expect(
    clippy::unwrap_used,
    reason = "a double that cannot do its part fails the test"
)]

use crate::auth::sign_in::user::User;
use crate::era::Eras;
use crate::examples::example_server::client::options_for;
use crate::program;
use crate::server::Server;
use mcp_bridge_testkit::program::CommandOutput;

async fn server(eras: Eras) -> Server {
    let options = options_for(eras);
    Server::start(options).await.unwrap()
}

/// Runs a command while the person signs in so many times.
async fn run(user: &mut User, args: &[&str], sign_ins: usize) -> CommandOutput {
    let run = program::command(args.iter().copied())
        .env("MCP_BRIDGE_DIR", user.store())
        .env("BROWSER", user.browser());
    let signing_in = async {
        for _ in 0..sign_ins {
            user.window().await.sign_in().await;
        }
    };
    tokio::join!(run.run(), signing_in).0
}

#[tokio::test]
async fn the_tools_of_the_example_server() {
    let mut user = User::new();
    let server = server(Eras::Dual).await;
    let url = server.url();
    let ran = run(&mut user, &["tools", url], 1).await;
    assert_eq!(
        ran.stdout,
        "\
add-to-menu  (not destructive)
  Puts a coffee on the menu
    coffee  string, required  Name of the coffee.

count-down  (read-only)
  Counts down to zero and reports progress on the way
    from  integer, default 10  First number, at most 50.

echo  (read-only)
  Returns the text it is given
    text  string, required  Text to return.

get-user-data  (read-only)
  Who is signed in: name, e-mail address and what the app may do

order-coffee  (not destructive)
  Orders a coffee for the user, who is asked which one
"
    );
    assert_eq!(ran.status, 0);
    // What has to be read in order to sign in, and nothing else.
    assert!(ran.stderr.contains("wants you to sign in"), "{ran:?}");
    // The second command finds the sign-in of the first.
    let again = run(&mut user, &["tools", url, "--json"], 0).await;
    assert_eq!((again.stderr.as_str(), again.status), ("", 0));
    let listed: serde_json::Value = serde_json::from_str(&again.stdout).unwrap();
    assert_eq!(listed["tools"].as_array().map(Vec::len), Some(5));
    user.saw_every_window();
}

#[tokio::test]
async fn calls_of_the_example_server_in_both_eras() {
    for eras in [Eras::Legacy, Eras::Modern] {
        let mut user = User::new();
        let server = server(eras).await;
        let url = server.url();
        let ran = run(&mut user, &["call", url, "echo", "text=hello"], 1).await;
        assert_eq!((ran.stdout.as_str(), ran.status), ("hello\n", 0));
        let ran = run(&mut user, &["call", url, "count-down", "from=2"], 0).await;
        assert_eq!((ran.stdout.as_str(), ran.status), ("Lift-off!\n", 0));
        assert_eq!(ran.stderr, "  0 %  2 …\n 50 %  1 …\n");
        // One more sign-in, for the scope that orders need.
        let ran = run(&mut user, &["call", url, "order-coffee"], 1).await;
        assert_eq!((ran.stdout.as_str(), ran.status), ("No coffee, then.\n", 0));
        let declined = "the server asks: Which coffee would you like, Ada Lovelace?\n\
            declined: there is no terminal to answer on\n";
        assert!(ran.stderr.ends_with(declined), "{ran:?}");
        // The bridge shows the page once, on stderr, and does not ask the client to show it as well.
        assert_eq!(ran.stderr.matches("/authorize?").count(), 1, "{ran:?}");
        let ran = run(&mut user, &["call", url, "add-to-menu", "coffee=…"], 0).await;
        assert_eq!(ran.status, 0, "{ran:?}");
        user.saw_every_window();
    }
}
