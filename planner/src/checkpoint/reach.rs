//! What the rest of a run costs at least: a bound for each boundary, so that ways which cannot become the cheapest end early.
//!
//! Behind a boundary only the candidates that begin there or later can save anything. Were parts of candidates allowed, the
//! least cost of saving so many bytes with them would be a convex function; it is built from the last boundary to the first:
//! a candidate is passed by, or taken and followed by what its end can reach, and the convex hull of both is below either.

use super::Currency;
use super::model::{Candidate, Model, Needs, Savings};

/// So much of a cost is left out of a bound: more than the arithmetic of fractions loses.
const CAUTION: f64 = 1e-9;

/// The most edges of a curve; of more, those of nearly the same price are taken together at the lower one.
const EDGES: usize = 96;

/// The least cost of saving bytes, by a convex curve from (0, 0): its edges, the cheapest first.
#[derive(Clone, Debug, Default, PartialEq)]
struct Curve(Vec<Edge>);

#[derive(Clone, Copy, Debug, PartialEq)]
struct Edge {
    bytes: f64,
    /// The cost of a byte.
    price: f64,
}

impl Curve {
    /// The highest convex curve that no point (bytes, cost) is below.
    fn below(mut points: Vec<(f64, f64)>) -> Curve {
        points.retain(|(bytes, _)| *bytes > 0.0);
        points.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1)));
        let price = |a: (f64, f64), b: (f64, f64)| (b.1 - a.1) / (b.0 - a.0);
        let mut hull: Vec<(f64, f64)> = vec![(0.0, 0.0)];
        for point in points {
            if hull.last().is_some_and(|last| last.0 == point.0) {
                continue;
            }
            while let [.., before, last] = hull[..]
                && (last.1 >= point.1 || price(before, last) >= price(last, point))
            {
                hull.pop();
            }
            hull.push(point);
        }
        let edges = hull.windows(2).map(|pair| Edge { bytes: pair[1].0 - pair[0].0, price: price(pair[0], pair[1]) });
        Curve(edges.collect()).simple()
    }

    /// What can be saved by both together.
    fn and(&self, other: &Curve) -> Curve {
        let mut edges = [&self.0[..], &other.0].concat();
        edges.sort_by(|a, b| a.price.total_cmp(&b.price));
        Curve(edges).simple()
    }

    /// Edges of nearly the same price as one, at the lower price: never above what it was.
    fn simple(mut self) -> Curve {
        let mut nearly = 1e-12;
        loop {
            let mut edges: Vec<Edge> = Vec::with_capacity(self.0.len());
            for edge in &self.0 {
                match edges.last_mut() {
                    Some(last) if edge.price <= last.price * (1.0 + nearly) => last.bytes += edge.bytes,
                    _ => edges.push(*edge),
                }
            }
            self.0 = edges;
            if self.0.len() <= EDGES {
                return self;
            }
            nearly = f64::max(nearly * 4.0, 1e-6);
        }
    }

    fn corners(&self) -> impl Iterator<Item = (f64, f64)> {
        self.0.iter().scan((0.0, 0.0), |at, edge| {
            *at = (at.0 + edge.bytes, at.1 + edge.bytes * edge.price);
            Some(*at)
        })
    }

    /// The least cost of saving so much; None where that cannot be.
    fn cost(&self, bytes: i64) -> Option<f64> {
        let (mut left, mut cost) = (bytes as f64, 0.0);
        for edge in &self.0 {
            if left <= 0.0 {
                break;
            }
            cost += edge.price * f64::min(left, edge.bytes);
            left -= edge.bytes;
        }
        // sums of edges lose a little
        (left <= bytes as f64 * CAUTION).then_some(cost)
    }
}

/// Which of the two sides of a pass.
#[derive(Clone, Copy)]
enum Side {
    Forward,
    Backward,
}

impl Side {
    fn saved(self, savings: Savings) -> i64 {
        match self {
            Side::Forward => savings.forward,
            Side::Backward => savings.backward,
        }
    }

    fn need(self, needs: Needs) -> i64 {
        match self {
            Side::Forward => needs.forward,
            Side::Backward => needs.backward,
        }
    }
}

/// For each boundary, what ways from there to the end have to save and what that costs at least.
pub(super) struct Reach {
    forward: Vec<Behind>,
    backward: Vec<Behind>,
}

/// What lies behind a boundary, on one side.
#[derive(Clone, Default)]
struct Behind {
    /// What some segment needs, whichever candidates are taken.
    needs: i64,
    curve: Curve,
}

impl Reach {
    /// Of a model's candidates that count. Without a price all of them are free.
    pub fn of(model: &Model, counted: &[usize], price: Option<Currency>) -> Reach {
        let side = |side| behind(model, counted, price, side);
        Reach { forward: side(Side::Forward), backward: side(Side::Backward) }
    }

    /// What a way from a boundary to the end costs at least, within a bound on the peak, where so much is saved before;
    /// None where there is no way.
    pub fn cost(&self, boundary: usize, saved: Savings, bound: i64) -> Option<u64> {
        let one =
            |behind: &Behind, saved: i64| behind.curve.cost(behind.needs.saturating_sub(bound).saturating_sub(saved));
        let forward = one(&self.forward[boundary], saved.forward)?;
        let backward = one(&self.backward[boundary], saved.backward)?;
        Some((forward.max(backward) * (1.0 - CAUTION)) as u64)
    }
}

fn behind(model: &Model, counted: &[usize], price: Option<Currency>, side: Side) -> Vec<Behind> {
    let mut least: Vec<i64> = model.segments.iter().map(|needs| side.need(*needs)).collect();
    let starting = model.starting(counted);
    for number in counted {
        let candidate = &model.candidates[*number];
        let need = side.need(candidate.needs);
        least[candidate.from..candidate.to].iter_mut().for_each(|least| *least = need.min(*least));
    }
    let mut behind = vec![Behind { needs: i64::MIN, curve: Curve::default() }; model.segments.len() + 1];
    for boundary in (0..model.segments.len()).rev() {
        let mut curve = behind[boundary + 1].curve.clone();
        for number in &starting[boundary] {
            let candidate = &model.candidates[*number];
            let taken = alone(candidate, price, side).and(&behind[candidate.to].curve);
            if taken != curve {
                curve = Curve::below(curve.corners().chain(taken.corners()).collect());
            }
        }
        behind[boundary] = Behind { needs: behind[boundary + 1].needs.max(least[boundary]), curve };
    }
    behind
}

/// The curve of one candidate: what spares most for each byte it holds is saved first.
fn alone(candidate: &Candidate, price: Option<Currency>, side: Side) -> Curve {
    let cost = |cost| price.map_or(0.0, |currency| currency.of(cost) as f64);
    let mut point = (side.saved(candidate.saves) as f64, cost(candidate.cost));
    let mut kinds: Vec<(f64, f64)> =
        candidate.kinds.iter().map(|kind| (side.saved(kind.holds) as f64, cost(kind.spares))).collect();
    // spares / holds, the highest first; what holds nothing before all
    let rank = |kind: &(f64, f64)| if kind.0 <= 0.0 { f64::INFINITY } else { kind.1 / kind.0 };
    kinds.sort_by(|a, b| rank(b).total_cmp(&rank(a)));
    let mut points = vec![point];
    for (holds, spares) in kinds {
        point = (point.0 - holds, (point.1 - spares).max(0.0));
        points.push(point);
    }
    Curve::below(points)
}
