//! Whether something happens more often than before: the exact conditional test of two
//! Poisson rates.

/// The probability of `now` or more of the `now + before` cases in the time `now_hours`, if
/// the rate is the same in both times. 1 if nothing can be told.
pub fn p_value(now: u64, now_hours: f64, before: u64, before_hours: f64) -> f64 {
    let hours = now_hours + before_hours;
    if now == 0 || now_hours <= 0.0 || before_hours <= 0.0 || !hours.is_finite() {
        return 1.0;
    }
    let (share, total) = (now_hours / hours, now + before);
    let (log_in, log_out) = (share.ln(), (1.0 - share).ln());
    // the sum of the binomial's terms from `now` to `total`, each from the one before
    let mut log_term = 0.0;
    let mut sum = 0.0;
    for k in 0..=total {
        if k == 0 {
            log_term = float(total) * log_out;
        } else {
            log_term += (float(total - k + 1) / float(k)).ln() + log_in - log_out;
        }
        if k >= now {
            sum += log_term.exp();
        }
    }
    sum.min(1.0)
}

/// Counts beyond what is exact are no matter of probabilities any more.
#[allow(clippy::cast_precision_loss)]
fn float(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tails_are_those_of_the_binomial_distribution() {
        // values by R: pbinom(x - 1, n, p, lower.tail = FALSE)
        for (now, now_hours, before, before_hours, expected) in [
            (3, 1.0, 0, 1.0, 0.125),
            (5, 1.0, 5, 1.0, 0.623_046_875),
            (10, 1.0, 0, 9.0, 1e-10),
            (3, 10.0, 1, 90.0, 0.0037),
            (0, 1.0, 5, 1.0, 1.0),
        ] {
            let found = p_value(now, now_hours, before, before_hours);
            assert!(
                (found - expected).abs() < 1e-9,
                "{now} in {now_hours} after {before} in {before_hours}: {found}"
            );
        }
    }

    #[test]
    fn without_a_time_before_nothing_is_told() {
        assert!(p_value(100, 1.0, 0, 0.0) >= 1.0);
        assert!(p_value(100, 0.0, 1, 1.0) >= 1.0);
    }

    #[test]
    fn many_cases_are_no_trouble() {
        assert!(p_value(20_000, 1.0, 20_000, 1.0) > 0.4);
        assert!(p_value(20_000, 1.0, 10_000, 1.0) < 1e-6);
    }
}
