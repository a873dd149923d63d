//! `report.json` and failure files. The report is pretty, fields in the order of [`Report`], maps sorted, so that two reports of the
//! same work differ in `wall_s`, `jobs` and `throughput` alone.

use everyack_scenarios::failure::Failure;
use everyack_scenarios::report::Report;
use serde::Serialize;

/// The whole report with a newline at its end.
pub fn render(report: &Report) -> String {
    pretty(report)
}

/// A failure file with a newline at its end.
pub fn failure(failure: &Failure) -> String {
    pretty(failure)
}

fn pretty(value: &impl Serialize) -> String {
    let mut out = serde_json::to_string_pretty(value)
        .expect("reports and failures hold strings, numbers and string-keyed maps only");
    out.push('\n');
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample;

    #[test]
    fn the_report_reads_back_as_it_was() {
        let report = sample::every_kind();
        let back: Report = serde_json::from_str(&render(&report)).unwrap();
        assert_eq!(back, report);
    }

    #[test]
    fn fields_have_the_names_and_words_that_scripts_rely_on() {
        let value: serde_json::Value =
            serde_json::from_str(&render(&sample::every_kind())).unwrap();
        let cell = &value["cells"][2];
        assert_eq!(cell["expected"], "may-lose");
        assert_eq!(cell["verdict"], "lost-as-expected");
        assert_eq!(cell["mechanisms"][0], "P04");
        assert_eq!(cell["batch"]["exposed"], 160);
        assert_eq!(cell["messages"]["lost"], 74);
        assert!(cell["twin"].is_null());
        assert_eq!(value["cells"][6]["twin"]["runs_with_loss"], 143);
        assert_eq!(value["canary"]["caught"], true);
    }
}
