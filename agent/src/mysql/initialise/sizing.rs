//! The arguments by which mysqld shares out its memory; the shares are the model's, see
//! [`berth_model::sizing`].

use berth_model::sizing::Sizing;

/// `performance_schema_digests_size` of a small server, by which a running one is known; the
/// default is at least ten times that.
pub const SMALL_DIGESTS: u64 = 200;

/// More arguments of the small `performance_schema`, and of what is sized by it.
const SMALL: &[&str] = &[
    "--max-connections=100",
    "--table-open-cache=400",
    "--table-definition-cache=400",
    "--performance-schema-error-size=200",
    "--performance-schema-events-stages-history-long-size=100",
    "--performance-schema-events-statements-history-long-size=100",
    "--performance-schema-events-transactions-history-long-size=100",
    "--performance-schema-events-waits-history-long-size=100",
    "--performance-schema-max-digest-length=512",
    "--performance-schema-max-index-stat=400",
    "--performance-schema-max-metadata-locks=4000",
    "--performance-schema-max-sql-text-length=512",
    "--performance-schema-max-table-handles=400",
    "--performance-schema-max-table-instances=200",
];

/// The arguments that say so.
pub(super) fn args(sizing: &Sizing) -> Vec<String> {
    let mut args = vec![
        format!("--innodb-buffer-pool-size={}", sizing.buffer_pool),
        format!("--innodb-buffer-pool-instances={}", sizing.pool_instances),
        format!("--innodb-buffer-pool-chunk-size={}", sizing.pool_chunk),
    ];
    if sizing.small {
        args.push(format!("--performance-schema-digests-size={SMALL_DIGESTS}"));
        args.extend(SMALL.iter().map(|arg| (*arg).to_owned()));
    }
    args
}
