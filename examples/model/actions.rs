//! Carrying out the actions of the plan.

use std::{sync::Arc, time::Duration};

use tokio::{task::JoinSet, time::timeout};

use crate::{
    app::Command,
    plan::Action,
    plan::Step,
    process::{self, Disk},
    world::World,
};

/// The longest that any action may take, beside what it waits for on purpose.
const ACTION_LIMIT: Duration = Duration::from_secs(60);

/// Actions under way.
pub(crate) struct Actions {
    world: Arc<World>,
    running: JoinSet<()>,
}

impl Actions {
    pub(crate) fn new(world: &Arc<World>) -> Self {
        Self {
            world: world.clone(),
            running: JoinSet::new(),
        }
    }

    /// Begins one.
    pub(crate) fn begin(&mut self, step: Step) {
        let world = self.world.clone();
        let report = &world.shared.report;
        report.at_step(step.number);
        report.event(format!("step {}: {:?}", step.number, step.action));
        report.count("steps");
        while self.running.try_join_next().is_some() {}
        self.running.spawn(async move {
            if timeout(ACTION_LIMIT, carry_out(&world, step.action))
                .await
                .is_err()
            {
                let report = &world.shared.report;
                report.violate(format!("step {} hangs: {:?}", step.number, step.action));
            }
        });
    }

    /// Waits for all, and ends what they have left behind.
    pub(crate) async fn end(mut self) {
        while self.running.join_next().await.is_some() {}
        let world = &self.world;
        for authority in &world.shared.authorities {
            authority.behave().await;
        }
        for service in &world.services {
            service.behave().await;
        }
    }
}

async fn carry_out(world: &World, action: Action) {
    let millis = Duration::from_millis;
    let shared = &world.shared;
    match action {
        Action::Kill { app, pause_ms } => {
            let pause = millis(pause_ms);
            world.tell(app, Command::Kill { pause });
        }
        Action::KillAll { account, pause_ms } => {
            for app in World::apps_of(account) {
                let pause = millis(pause_ms);
                world.tell(app, Command::Kill { pause });
            }
        }
        Action::Stop { app, ms } => world.tell(app, Command::Stop { time: millis(ms) }),
        Action::StopAll { account, ms } => {
            for app in World::apps_of(account) {
                world.tell(app, Command::Stop { time: millis(ms) });
            }
        }
        Action::Leave { app, pause_ms } => {
            let pause = millis(pause_ms);
            world.tell(app, Command::Leave { pause });
        }
        Action::Terminate { app, pause_ms } => {
            let pause = millis(pause_ms);
            world.tell(app, Command::Terminate { pause });
        }
        Action::Restart { server } => world.services[server].restart().await,
        Action::Down { server, ms } => world.services[server].go_down(millis(ms)).await,
        Action::ForgetSessions { server } => world.services[server].forget_sessions(),
        Action::CutStreams { server } => world.services[server].cut_streams(),
        Action::Tell { server, count } => world.services[server].tell(count),
        Action::Move { server } => world.move_server(server).await,
        Action::ExpireAccess { account } => {
            if !shared.authorities[account].expire_access() {
                shared.report.event("no access token is old enough");
            }
        }
        Action::Revoke { account } => shared.authorities[account].revoke(),
        Action::AuthorityDown { account, ms } => {
            shared.authorities[account].go_down(millis(ms)).await;
        }
        Action::AuthorityFails { account, ms } => shared.authorities[account].fail_for(millis(ms)),
        Action::AuthoritySlow { account, ms } => {
            shared.authorities[account].be_slow_for(millis(ms));
        }
        Action::Dawdle { account, ms } => shared.browser.dawdle(account, millis(ms)),
        Action::ProxyDown { ms } => world.proxy.go_down(millis(ms)).await,
        Action::CutProxy => world.proxy.go_down(Duration::ZERO).await,
        Action::FullDisk { ms } => {
            set_disks(world, Disk::Full);
            tokio::time::sleep(millis(ms)).await;
            set_disks(world, Disk::Free);
        }
    }
}

/// The authorization servers judge a token by the state of the disk when they issue it, so for them the disk is full a little
/// longer.
fn set_disks(world: &World, disk: Disk) {
    let tell_authorities = || {
        for authority in &world.shared.authorities {
            authority.set_disk(disk);
        }
    };
    if disk == Disk::Full {
        tell_authorities();
    }
    let mut current = world.shared.disk.lock();
    *current = disk;
    for found in process::marked(&world.shared.mark) {
        process::set_disk(found.pid, disk);
    }
    drop(current);
    if disk == Disk::Free {
        tell_authorities();
    }
}
