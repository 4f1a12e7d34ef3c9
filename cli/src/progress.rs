//! Progress bars: on stderr, and only where that is a terminal.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressFinish, ProgressStyle};

/// A bar of `total` steps that removes itself when it is dropped.
pub(crate) fn bar(what: &'static str, total: u64) -> ProgressBar {
    let style = ProgressStyle::with_template(
        "{msg:12} {bar:30} {human_pos}/{human_len}, {per_sec}, {eta} left",
    )
    .expect("the template is a constant and well formed");
    // Drawing on something that is no terminal is suppressed by indicatif.
    ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr())
        .with_style(style.progress_chars("=> "))
        .with_message(what)
        .with_finish(ProgressFinish::AndClear)
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_bar_can_be_made_and_moved() {
        let bar = super::bar("importing", 10);
        bar.inc(4);
        assert_eq!((bar.position(), bar.length()), (4, Some(10)));
    }
}
