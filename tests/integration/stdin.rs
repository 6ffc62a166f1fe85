use crate::support::{app::App, fault_server::Server};

#[tokio::test]
async fn smoke() {
    let server = Server::start();
    let mut app = App::initialized(&server).await;
    app.still_served().await;
    app.finish().await;
}
