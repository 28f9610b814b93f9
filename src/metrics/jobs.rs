//! What is counted of jobs.

use std::time::Duration;

use super::Metrics;

/// Bounds for an attempt at a delivery, in seconds: from a receiver next door to one that never answers.
pub(super) const DELIVERY_BUCKETS: [f64; 11] =
    [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0];

impl Metrics {
    /// An attempt at a delivery took so long, whatever came of it.
    pub fn webhook_attempted(&self, took: Duration) {
        self.deliveries.observe(took.as_secs_f64());
    }

    /// Nothing was sent to a receiver, since its address is not allowed.
    pub fn webhook_blocked(&self, reason: &'static str) {
        self.webhooks_blocked.with_label_values(&[reason]).inc();
    }

    /// An attempt of a job ended. `phase` is `run` or `deliver`.
    pub fn job_attempted(&self, phase: &'static str, outcome: &'static str) {
        self.job_attempts.with_label_values(&[phase, outcome]).inc();
    }

    /// So many jobs are in a state, the oldest of them for so long.
    pub fn jobs_counted(&self, state: &'static str, jobs: u64, oldest: Option<Duration>) {
        let number = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        self.jobs.with_label_values(&[state]).set(number(jobs));
        let age = oldest.unwrap_or_default().as_secs();
        self.job_ages.with_label_values(&[state]).set(number(age));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jobs_are_counted_by_state_and_by_what_came_of_them() {
        let metrics = Metrics::new().unwrap();
        metrics.jobs_counted("queued", 7, Some(Duration::from_millis(8900)));
        metrics.jobs_counted("dead", 0, None);
        metrics.job_attempted("deliver", "failed");
        metrics.webhook_blocked("loopback");
        metrics.webhook_attempted(Duration::from_secs(1));
        let text = metrics.render().unwrap();
        for line in [
            r#"tidegate_jobs{state="queued"} 7"#,
            r#"tidegate_job_oldest_age_seconds{state="queued"} 8"#,
            r#"tidegate_jobs{state="dead"} 0"#,
            r#"tidegate_job_oldest_age_seconds{state="dead"} 0"#,
            r#"tidegate_job_attempts_total{outcome="failed",phase="deliver"} 1"#,
            r#"tidegate_webhook_blocked_total{reason="loopback"} 1"#,
            "tidegate_webhook_delivery_seconds_count 1",
        ] {
            assert!(text.lines().any(|shown| shown == line), "{line}");
        }
    }
}
