//! A table of contenders: medians, spread, and ratios to one of them.

/// Rates of contenders, a number a round each.
pub(crate) struct Table {
    unit: &'static str,
    rows: Vec<(String, Vec<f64>)>,
}

impl Table {
    pub(crate) fn new(unit: &'static str) -> Self {
        Self { unit, rows: Vec::new() }
    }

    pub(crate) fn add(&mut self, name: &str, figure: f64) {
        match self.rows.iter_mut().find(|(known, _)| known == name) {
            Some((_, figures)) => figures.push(figure),
            None => self.rows.push((name.to_owned(), vec![figure])),
        }
    }

    /// With ratios to the first row, round by round.
    pub(crate) fn print(&self, title: &str) {
        println!("\n### {title}\n");
        let first = self.rows.first().map(|(_, figures)| figures.clone()).unwrap_or_default();
        println!("| what | {} | least..most | to the first |", self.unit);
        println!("| --- | ---: | ---: | ---: |");
        for (name, figures) in &self.rows {
            let (least, median, most) = spread(figures);
            let ratios: Vec<f64> = figures.iter().zip(&first).map(|(own, to)| own / to).collect();
            let (_, ratio, _) = spread(&ratios);
            println!("| {name} | {median:.0} | {least:.0}..{most:.0} | {ratio:.2} |");
        }
    }
}

fn spread(figures: &[f64]) -> (f64, f64, f64) {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    (sorted[0], sorted[sorted.len() / 2], sorted[sorted.len() - 1])
}
