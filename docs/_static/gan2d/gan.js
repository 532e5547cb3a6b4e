// A GAN of points in the plane: its data, its options, and one step of its training
import { Adam, BatchNorm, Dense, Leaky, Net, Tanh, gradientPenalty, random, sigmoid, softplus }
  from './nets.js'

export const defaults = {
  data: 'two', batch: 256, seed: 0,
  rateD: 0.005, rateG: 0.002, beta1: 0.5, stepsD: 1, stepsG: 1,
  r1: 0, mixture: 0, sigma: 0.1, // Gaussians of DeLiGAN's latent; its λ
  layers: 1, norm: false, start: 'even', // of G: hidden layers, batch norm, initial weights
}

// Data, as functions (random numbers) → a point

const around = (x, y, std) => r => [x + std * r.normal(), y + std * r.normal()]
const circle = Array.from({ length: 8 }, (_, k) => k * Math.PI / 4)

export const centres = {
  one: [[0, 0]],
  two: [[-0.5, 0], [0.5, 0]],
  ring: circle.map(a => [0.65 * Math.cos(a), 0.65 * Math.sin(a)]),
}
const spreads = { one: 0.15, two: 0.1, ring: 0.06 }

export function sampler(data, drawing = []) { // drawing: what the reader drew, [x, y] each
  const [places, std] = data === 'drawing' ? [drawing, 0.02] : [centres[data], spreads[data]]
  const at = places.length ? places : [[0, 0]]
  return r => around(...at[r.whole(at.length)], std)(r)
}

export function batchOf(point, n, r) { // n×2
  const x = new Float64Array(2 * n)
  for (let i = 0; i < n; i++) x.set(point(r), 2 * i)
  return x
}

// Networks: the family `points` of the library, with more hidden layers on demand

function dense(inputs, outputs, start, r) {
  const std = start === 'small' ? 0.02 : inputs ** -0.5
  const bias = start === 'small' ? () => 0 : () => r.uniform() - 0.5
  return new Dense(inputs, outputs, () => std * r.normal(), bias)
}

function hidden(inputs, units, leak, { norm = false, start = 'even' }, r) {
  const normed = norm ? [new BatchNorm(units)] : []
  return [dense(inputs, units, start, r), ...normed, new Leaky(leak)]
}

export function generator(options, r) { // z → 32 → … → 2
  const { layers, start } = options
  const stack = Array.from({ length: layers }, (_, k) => hidden(k ? 32 : 2, 32, 0, options, r))
  return new Net([...stack.flat(), dense(32, 2, start, r), new Tanh()])
}

export function discriminator(r, units = 32) { // 2 → 32 → 32 → 1
  const stack = [hidden(2, units, 0.2, {}, r), hidden(units, units, 0.2, {}, r)]
  return new Net([...stack.flat(), dense(units, 1, 'even', r)])
}

// Latents: N(0, 1), or DeLiGAN's trained mixture z = μᵢ + σᵢ·ε with the penalty λ·mean (1 − σ)²

export class Mixture {
  constructor(components, lambda, r) {
    const of = start => {
      const value = Float64Array.from({ length: 2 * components }, start)
      const [grad, mean, square] = [1, 2, 3].map(() => new Float64Array(2 * components))
      return { value, grad, mean, square }
    }
    Object.assign(this, { components, lambda })
    this.mu = of(() => 2 * r.uniform() - 1)
    this.std = of(() => 0.2)
  }

  get parameters() { return [this.mu, this.std] }

  forward(chosen, noise) { // n, n×2 → n×2
    Object.assign(this, { chosen, noise })
    const at = i => 2 * chosen[i >> 1] + (i & 1)
    return noise.map((e, i) => this.mu.value[at(i)] + this.std.value[at(i)] * e)
  }

  backward(dz) { // adds to the gradients, and gives the penalty
    dz.forEach((d, i) => {
      const k = 2 * this.chosen[i >> 1] + (i & 1)
      this.mu.grad[k] += d
      this.std.grad[k] += d * this.noise[i]
    })
    const { value, grad } = this.std, share = this.lambda / value.length
    value.forEach((s, k) => { grad[k] -= 2 * share * (1 - s) })
    return share * value.reduce((sum, s) => sum + (1 - s) ** 2, 0)
  }
}

// Twice the mean distance between two samples less those within each, as dcgan.beyond.plane has it
export function energyDistance(x, y, withinY = meanDistance(y, y)) {
  return 2 * meanDistance(x, y) - meanDistance(x, x) - withinY
}

function meanDistance(a, b) { // of all pairs
  let sum = 0
  for (let i = 0; i < a.length; i += 2) {
    for (let j = 0; j < b.length; j += 2) {
      const dx = a[i] - b[j], dy = a[i + 1] - b[j + 1]
      sum += Math.sqrt(dx * dx + dy * dy)
    }
  }
  return 4 * sum / (a.length * b.length)
}

export function spread(x) { // root mean square distance of points from their mean
  const n = x.length / 2, middle = [0, 0]
  x.forEach((v, i) => { middle[i & 1] += v / n })
  return Math.sqrt(x.reduce((sum, v, i) => sum + (v - middle[i & 1]) ** 2, 0) / n)
}

export class Gan {
  constructor(options = {}, drawing = []) {
    this.options = { ...defaults, ...options }
    this.r = random(this.options.seed)
    const { mixture, sigma } = this.options
    this.G = generator(this.options, this.r)
    this.D = discriminator(this.r, options.units)
    this.mixture = mixture ? new Mixture(mixture, sigma, this.r) : null
    this.optimD = new Adam(this.D.parameters, {})
    this.optimG = new Adam([...this.G.parameters, ...this.mixture?.parameters ?? []], {})
    this.rounds = 0
    this.losses = { D: NaN, G: NaN }
    this.set(options)
    this.learn(drawing)
  }

  set(options) { // what may change in mid-training
    Object.assign(this.options, options)
    const { rateD, rateG, beta1 } = this.options
    Object.assign(this.optimD, { rate: rateD, beta1 })
    Object.assign(this.optimG, { rate: rateG, beta1 })
  }

  learn(drawing) { // other data
    this.point = sampler(this.options.data, drawing)
    const r = random(1) // the same points at every look
    this.held = batchOf(this.point, 512, r)
    this.within = meanDistance(this.held, this.held)
    this.floor = energyDistance(batchOf(this.point, 512, r), this.held, this.within)
  }

  latents(n, r = this.r) {
    const noise = batchOf(() => [r.normal(), r.normal()], n)
    if (!this.mixture) return noise
    const chosen = Array.from({ length: n }, () => r.whole(this.mixture.components))
    return this.mixture.forward(chosen, noise)
  }

  trainD(x = null, z = null) {
    const { batch, r1 } = this.options, { D } = this
    x ??= batchOf(this.point, batch, this.r)
    z ??= this.latents(batch)
    const fake = this.G.forward(z, batch)
    this.optimD.clear()
    let loss = r1 > 0 ? gradientPenalty(D, x, batch, r1) : 0
    for (const [points, sign] of [[x, -1], [fake, 1]]) { // softplus(∓D), as the paper's §4
      const logits = D.forward(points, batch)
      loss += logits.reduce((sum, l) => sum + softplus(sign * l), 0) / batch
      D.backward(logits.map(l => sign * sigmoid(sign * l) / batch), batch)
    }
    this.optimD.step()
    return this.losses.D = loss
  }

  trainG(z = null) {
    const { batch } = this.options, { G, D } = this
    z ??= this.latents(batch)
    this.optimG.clear()
    const [logits, push] = this.pushed(G.forward(z, batch), batch)
    const dz = G.backward(push, batch)
    let loss = logits.reduce((sum, l) => sum + softplus(-l), 0) / batch
    if (this.mixture) loss += this.mixture.backward(dz)
    this.optimG.step()
    return this.losses.G = loss
  }

  pushed(x, n) { // logits of generated points, and G's loss differentiated by them
    const logits = this.D.forward(x, n)
    return [logits, this.D.backward(logits.map(l => (sigmoid(l) - 1) / n), n, false)]
  }

  round(D = this.options.stepsD, G = this.options.stepsG) {
    for (let k = 0; k < D; k++) this.trainD()
    for (let k = 0; k < G; k++) this.trainG()
    this.rounds++
  }

  // What the page shows: 512 samples, where they are pushed, and numbers
  look(n = 512) {
    const z = this.latents(n, random(2)), samples = this.G.forward(z, n)
    const [, push] = this.pushed(samples, n)
    return {
      rounds: this.rounds, losses: { ...this.losses }, samples,
      push: push.map(v => -v * n), held: this.held, floor: this.floor,
      energy: energyDistance(samples, this.held, this.within),
      spread: spread(samples), spreadHeld: spread(this.held),
    }
  }

  field(side, limit) { // D's answer, 0 generated … 1 real, on side×side places; rows go down
    const x = new Float64Array(2 * side * side), at = k => limit * ((2 * k + 1) / side - 1)
    for (let row = 0; row < side; row++) {
      for (let k = 0; k < side; k++) x.set([at(k), -at(row)], 2 * (row * side + k))
    }
    return Float32Array.from(this.D.forward(x, side * side), sigmoid)
  }

  net(lines, dots, limit = 2) { // where G puts a net of z: lines along both axes, dots each
    const x = new Float64Array(4 * lines * dots)
    let i = 0
    for (const turned of [0, 1]) {
      for (let a = 0; a < lines; a++) {
        for (let b = 0; b < dots; b++, i += 2) {
          x[i + turned] = limit * (2 * a / (lines - 1) - 1)
          x[i + 1 - turned] = limit * (2 * b / (dots - 1) - 1)
        }
      }
    }
    return Float32Array.from(this.G.forward(x, x.length / 2, true)) // after a look: its statistics
  }
}
