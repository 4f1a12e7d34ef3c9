//! Medians over rounds, as a table in Markdown.

/// One row: what was measured, and a figure a round.
pub(crate) struct Table {
    title: String,
    unit: &'static str,
    rows: Vec<(String, Vec<f64>)>,
}

impl Table {
    pub(crate) fn new(title: impl Into<String>, unit: &'static str) -> Self {
        Self { title: title.into(), unit, rows: Vec::new() }
    }

    /// Adds the figure of one round.
    pub(crate) fn add(&mut self, row: impl Into<String>, figure: f64) {
        let row = row.into();
        match self.rows.iter_mut().find(|(name, _)| *name == row) {
            Some((_, figures)) => figures.push(figure),
            None => self.rows.push((row, vec![figure])),
        }
    }

    /// Prints the medians, each beside the median of `base`, where that was measured.
    pub(crate) fn print(&self, base: &str) {
        let base_row = self.rows.iter().find(|(name, _)| name == base);
        let base_figure = base_row.map(|(_, figures)| median(figures));
        println!("\n### {}\n", self.title);
        println!("| what | {} | least..most | / {base} |", self.unit);
        println!("| --- | ---: | ---: | ---: |");
        for (name, figures) in &self.rows {
            let least = figures.iter().copied().fold(f64::INFINITY, f64::min);
            let most = figures.iter().copied().fold(0.0, f64::max);
            let found = median(figures);
            let ratio = base_figure.map_or_else(String::new, |base| format!("{:.2}", found / base));
            println!("| {name} | {} | {}..{} | {ratio} |", show(found), show(least), show(most));
        }
    }
}

fn show(figure: f64) -> String {
    if figure >= 1000.0 { format!("{figure:.0}") } else { format!("{figure:.3}") }
}

fn median(figures: &[f64]) -> f64 {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    if sorted.len() % 2 == 1 {
        sorted[middle]
    } else {
        f64::midpoint(sorted[middle - 1], sorted[middle])
    }
}
