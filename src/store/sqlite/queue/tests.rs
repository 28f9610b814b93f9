//! How the tables are searched: by an index, however many jobs there are.

use rusqlite::Connection;
use rusqlite::types::Null;

use super::{claim, find, forget, reseal};

fn tables() -> Connection {
    let connection = Connection::open_in_memory().unwrap();
    connection.execute_batch(include_str!("../V3__jobs.sql")).unwrap();
    connection
}

fn plan(connection: &Connection, sql: &str) -> Vec<String> {
    let mut explain = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
    for parameter in 1..=explain.parameter_count() {
        explain.raw_bind_parameter(parameter, Null).unwrap();
    }
    explain
        .raw_query()
        .mapped(|row| row.get("detail"))
        .collect::<Result<_, _>>()
        .unwrap()
}

#[test]
fn no_table_is_read_through_and_nothing_is_sorted() {
    let connection = tables();
    for (sql, index) in [
        (claim::NEXT_LANE, "jobs_waiting (state=? AND lane>?)"),
        (claim::FIRST_DUE, "jobs_due (state=?)"),
        (find::OF_STATE, "jobs_by_state (state=? AND at<?)"),
        (
            find::OF_ACCOUNT,
            "jobs_by_account (account=? AND state=? AND at<?)",
        ),
        (find::OLDEST, "jobs_by_state (state=?)"),
        (forget::DEAD, "jobs_dead (ended>? AND ended<?)"),
        (forget::ENDED, "jobs_ended (ended>? AND ended<?)"),
        (reseal::SEALED_OTHERWISE, "contents_by_master (master<?)"),
        (reseal::NEXT_MASTER, "contents_by_master (master>?)"),
    ] {
        let plan = plan(&connection, sql);
        assert!(plan.iter().any(|step| step.contains(index)), "{sql}: {plan:?}");
        for step in &plan {
            assert!(
                !step.starts_with("SCAN") && !step.contains("TEMP B-TREE"),
                "{sql}: {plan:?}"
            );
        }
    }
}

#[test]
fn the_leases_of_others_are_read_from_those_that_are_leased() {
    let connection = tables();
    for sql in super::operate::LEASES {
        let plan = plan(&connection, sql);
        assert!(plan[0].contains("jobs_leased"), "{plan:?}");
    }
}
