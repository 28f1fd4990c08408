//! The schema, as a list of steps that is only ever added to. Each step is one transaction together with its number,
//! so a process that dies in the middle leaves the step before.

use crate::model::StoreFault;
use crate::sqlite::fault;
use rusqlite::{Connection, TransactionBehavior};

/// Every step there has ever been, in order.
pub(super) const STEPS: &[&str] = &[
    include_str!("schema/0001.sql"),
    include_str!("schema/0002.sql"),
    include_str!("schema/0003.sql"),
    include_str!("schema/0004.sql"),
    include_str!("schema/0005.sql"),
    include_str!("schema/0006.sql"),
    include_str!("schema/0007.sql"),
    include_str!("schema/0008.sql"),
    include_str!("schema/0009.sql"),
    include_str!("schema/0010.sql"),
    include_str!("schema/0011.sql"),
];

/// Brings the database to the last of these steps.
pub(super) fn migrate(db: &mut Connection, steps: &[&str]) -> Result<(), StoreFault> {
    let known = steps.len() as u32;
    let found: u32 = db.pragma_query_value(None, "user_version", |row| row.get(0)).map_err(fault)?;
    if found > known {
        return Err(StoreFault::NewerSchema { found, known });
    }
    for (number, step) in (1u32..).zip(steps).skip(found as usize) {
        let transaction = db.transaction_with_behavior(TransactionBehavior::Immediate).map_err(fault)?;
        transaction.execute_batch(step).map_err(fault)?;
        transaction.pragma_update(None, "user_version", number).map_err(fault)?;
        transaction.commit().map_err(fault)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_that_fails_in_the_middle_leaves_the_step_before() {
        let mut db = Connection::open_in_memory().unwrap();
        let good = "CREATE TABLE a (x); INSERT INTO a VALUES (1);";
        let bad = "CREATE TABLE b (x); INSERT INTO nowhere VALUES (1);";
        assert!(migrate(&mut db, &[good, bad]).is_err());
        assert_eq!(db.pragma_query_value(None, "user_version", |row| row.get::<_, u32>(0)), Ok(1));
        assert!(!db.table_exists(None, "b").unwrap());
        migrate(&mut db, &[good, "CREATE TABLE b (x);"]).unwrap();
        assert!(db.table_exists(None, "b").unwrap());
        assert_eq!(migrate(&mut db, &[good]), Err(StoreFault::NewerSchema { found: 2, known: 1 }));
    }
}
