//! The gate is killed, its power cut or its disk filled while it takes in, runs and delivers jobs.

use tokio::time::Instant;

use super::*;
use crate::disk::Disk;
use crate::load;
use crate::power;
use crate::rounds;
use crate::small::Small;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gate_that_is_killed_with_jobs_at_work_loses_none_and_charges_each_once() {
    let (upstream, receiver) = (Upstream::start().await, Receiver::moody().await);
    let folder = tempfile::tempdir().unwrap();
    let token = mint("1000");
    let (mut ids, mut kills) = (Vec::new(), Vec::new());
    for round in 0..rounds(8) {
        let mut gate = Gate::start(folder.path(), upstream.addr, SETTINGS);
        let millis = 50 + Dice::new(round).below(950);
        let sending = interrupted(&gate, &token, receiver.addr, millis).await;
        gate.kill();
        kills.push(Instant::now());
        ids.extend(sending.end().await);
    }
    let gate = Gate::start(folder.path(), upstream.addr, SETTINGS);
    let calls = settle(gate, folder.path(), &token, &receiver, &ids).await;
    upstream.billed().await;
    let twice = repeated(&receiver.taken(), &kills);
    let again = upstream.calls() - calls;
    println!(
        "{} jobs acknowledged and {calls} made in {} kills: 0 lost, {twice} deliveries and {again} calls repeated",
        ids.len(),
        kills.len()
    );
    assert!(again <= 16 * kills.len() as u64, "{again} calls repeated");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gate_whose_power_is_cut_with_jobs_at_work_loses_none_that_was_acknowledged() {
    let (upstream, receiver) = (Upstream::start().await, Receiver::moody().await);
    let mut all = 0;
    for round in 0..rounds(4) {
        let Some(disk) = Disk::mount() else { return };
        let token = mint("1000");
        let mut gate = Gate::start(disk.path(), upstream.addr, SETTINGS);
        let millis = 100 + Dice::new(round).below(600);
        let sending = interrupted(&gate, &token, receiver.addr, millis).await;
        let rest = disk.cut(power::cut(round));
        gate.kill();
        let ids = sending.end().await;
        all += ids.len();
        let gate = Gate::start(rest.path(), upstream.addr, SETTINGS);
        settle(gate, rest.path(), &token, &receiver, &ids).await;
    }
    println!("{all} jobs acknowledged before the power was cut: 0 lost");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_disk_is_full_jobs_are_refused_and_those_that_were_acknowledged_are_delivered() {
    let Some(disk) = Small::mount("4m") else { return };
    let (upstream, receiver) = (Upstream::start().await, Receiver::moody().await);
    let token = mint("1000");
    let gate = Gate::start(disk.path(), upstream.addr, SETTINGS);
    let (mut ids, mut refused) = (Vec::new(), 0);
    let began = Instant::now();
    while refused < 20 {
        if ids.len() == 20 {
            disk.fill();
        }
        let answer = post(gate.addr, &token, receiver.addr, Size::Small)
            .await
            .expect("an answer");
        match taken_in(&answer) {
            Some(id) => ids.push(id),
            None => refused += 1,
        }
        assert!(began.elapsed() < 2 * PATIENCE, "the disk is never full");
    }
    disk.clear();
    settle(gate, disk.path(), &token, &receiver, &ids).await;
    println!("{} jobs acknowledged and {refused} refused: 0 lost", ids.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_of_a_disk_is_for_calls_and_not_for_jobs() {
    let Some(disk) = Small::mount("16m") else { return };
    let (upstream, receiver) = (Upstream::start().await, Receiver::kind().await);
    let token = mint("1000");
    let gate = Gate::start(disk.path(), upstream.addr, SETTINGS);
    let send = || async {
        let answer = post(gate.addr, &token, receiver.addr, Size::Small).await;
        answer.expect("an answer")
    };
    let id = acknowledged(&send().await);
    gate.jobs_end().await;
    // Less than a twentieth, and enough for some calls.
    disk.fill_but(600 * 1024);
    assert_eq!(taken_in(&send().await), None);
    for _ in 0..10 {
        let call = load::stream(gate.addr, &token, 1).await;
        assert!(call.is_some_and(|call| call.went_well()));
    }
    disk.clear();
    let ids = [id, acknowledged(&send().await)];
    settle(gate, disk.path(), &token, &receiver, &ids).await;
}
