//! How the tables are searched: by an index, however many jobs there are.

use rusqlite::types::Null;
use rusqlite::{Connection, StatementStatus};

use super::{claim, find, forget, reseal};
use crate::store::sqlite::open::keep_plans;

fn tables() -> Connection {
    let connection = Connection::open_in_memory().unwrap();
    keep_plans(&connection).unwrap();
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
fn a_statement_is_compiled_once_whatever_it_is_asked_for() {
    let connection = tables();
    for state in [0, 2, 5] {
        let mut first = connection.prepare_cached(claim::FIRST_DUE).unwrap();
        assert!(!first.exists([state]).unwrap());
    }
    let first = connection.prepare_cached(claim::FIRST_DUE).unwrap();
    assert_eq!(first.get_status(StatementStatus::RePrepare), 0);
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
