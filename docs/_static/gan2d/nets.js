// Dense networks with their derivatives written out, and Adam. Matrices are flat, row after row:
// a batch is n×features, a layer's weights are outputs×inputs, as in PyTorch.

// Random numbers that a seed fixes: mulberry32, and from it normal ones by Box and Muller
export function random(seed) {
  const uniform = () => {
    seed = (seed + 0x6D2B79F5) | 0
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32
  }
  const normal = () => Math.sqrt(-2 * Math.log(1 - uniform())) * Math.cos(2 * Math.PI * uniform())
  return { uniform, normal, whole: n => Math.floor(n * uniform()) }
}

export const softplus = x => Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x)))
export const sigmoid = x => 1 / (1 + Math.exp(-x))

const parameter = (length, start) => ({
  value: Float64Array.from({ length }, start),
  grad: new Float64Array(length),
  mean: new Float64Array(length), // Adam's two moments
  square: new Float64Array(length),
})

// y = x·Wᵀ + b. Four outputs at a time share what is read of x.
export class Dense {
  constructor(inputs, outputs, weight, bias) {
    Object.assign(this, { inputs, outputs })
    this.W = parameter(inputs * outputs, weight)
    this.b = parameter(outputs, bias)
  }

  get parameters() { return [this.W, this.b] }

  forward(x, n) {
    const { inputs, outputs } = this, W = this.W.value, b = this.b.value
    const y = new Float64Array(n * outputs)
    for (let row = 0; row < n; row++) {
      const from = row * inputs, to = row * outputs
      let o = 0
      for (; o + 4 <= outputs; o += 4) {
        const w0 = o * inputs, w1 = w0 + inputs, w2 = w1 + inputs, w3 = w2 + inputs
        let s0 = b[o], s1 = b[o + 1], s2 = b[o + 2], s3 = b[o + 3]
        for (let i = 0; i < inputs; i++) {
          const v = x[from + i]
          s0 += v * W[w0 + i]
          s1 += v * W[w1 + i]
          s2 += v * W[w2 + i]
          s3 += v * W[w3 + i]
        }
        y[to + o] = s0
        y[to + o + 1] = s1
        y[to + o + 2] = s2
        y[to + o + 3] = s3
      }
      for (; o < outputs; o++) {
        let s = b[o]
        for (let i = 0; i < inputs; i++) s += x[from + i] * W[o * inputs + i]
        y[to + o] = s
      }
    }
    this.x = x
    return y
  }

  backward(dy, n, learn = true) {
    if (learn) this.learn(dy, this.x, n)
    return this.back(dy, n)
  }

  learn(dy, x, n, bias = true) { // adds dyᵀ·x to the gradient of W, and dy to that of b
    const { inputs, outputs } = this, dW = this.W.grad, db = this.b.grad
    for (let row = 0; row < n; row += 4) { // past the end, rows of zeros
      const rows = Math.min(4, n - row), x0 = row * inputs, x1 = rows > 1 ? x0 + inputs : x0
      const x2 = rows > 2 ? x1 + inputs : x0, x3 = rows > 3 ? x2 + inputs : x0
      for (let o = 0; o < outputs; o++) {
        const at = row * outputs + o, w = o * inputs, d0 = dy[at]
        const d1 = rows > 1 ? dy[at + outputs] : 0, d2 = rows > 2 ? dy[at + 2 * outputs] : 0
        const d3 = rows > 3 ? dy[at + 3 * outputs] : 0
        if (bias) db[o] += d0 + d1 + d2 + d3
        for (let i = 0; i < inputs; i++) {
          dW[w + i] += d0 * x[x0 + i] + d1 * x[x1 + i] + d2 * x[x2 + i] + d3 * x[x3 + i]
        }
      }
    }
  }

  back(dy, n) { // dy·W
    const { inputs, outputs } = this, W = this.W.value, dx = new Float64Array(n * inputs)
    for (let row = 0; row < n; row++) {
      const to = row * inputs, at = row * outputs
      let o = 0
      for (; o + 4 <= outputs; o += 4) {
        const w0 = o * inputs, w1 = w0 + inputs, w2 = w1 + inputs, w3 = w2 + inputs
        const d0 = dy[at + o], d1 = dy[at + o + 1], d2 = dy[at + o + 2], d3 = dy[at + o + 3]
        for (let i = 0; i < inputs; i++) {
          dx[to + i] += d0 * W[w0 + i] + d1 * W[w1 + i] + d2 * W[w2 + i] + d3 * W[w3 + i]
        }
      }
      for (; o < outputs; o++) {
        const d = dy[at + o], w = o * inputs
        for (let i = 0; i < inputs; i++) dx[to + i] += d * W[w + i]
      }
    }
    return dx
  }
}

export class Leaky { // ReLU where the leak is 0
  constructor(leak) { this.leak = leak }
  get parameters() { return [] }
  forward(x) {
    const { leak } = this, y = this.y = x.slice()
    for (let i = 0; i < y.length; i++) if (y[i] <= 0) y[i] *= leak
    return y
  }

  backward(dy) {
    const { y, leak } = this, dx = dy.slice() // y has the signs of x
    for (let i = 0; i < dx.length; i++) if (y[i] <= 0) dx[i] *= leak
    return dx
  }
}

export class Tanh {
  get parameters() { return [] }
  forward(x) { return this.y = x.map(Math.tanh) }
  backward(dy) { return dy.map((d, i) => d * (1 - this.y[i] ** 2)) }
}

// Batch norm by the statistics of the batch, with gain and bias
export class BatchNorm {
  constructor(units) {
    this.units = units
    this.gain = parameter(units, () => 1)
    this.bias = parameter(units, () => 0)
  }

  get parameters() { return [this.gain, this.bias] }

  forward(x, n, frozen = false) { // frozen: by the statistics of the batch before
    if (!frozen) this.measure(x, n)
    const { units, mean, scale } = this, gain = this.gain.value, bias = this.bias.value
    const y = new Float64Array(x.length), normed = this.normed = new Float64Array(x.length)
    for (let i = 0, u = 0; i < x.length; i++, u = u + 1 < units ? u + 1 : 0) {
      normed[i] = (x[i] - mean[u]) * scale[u]
      y[i] = normed[i] * gain[u] + bias[u]
    }
    return y
  }

  measure(x, n) {
    const { units } = this, mean = new Float64Array(units), scale = new Float64Array(units)
    for (let i = 0, u = 0; i < x.length; i++, u = u + 1 < units ? u + 1 : 0) mean[u] += x[i] / n
    for (let i = 0, u = 0; i < x.length; i++, u = u + 1 < units ? u + 1 : 0) {
      scale[u] += (x[i] - mean[u]) ** 2 / n
    }
    Object.assign(this, { mean, scale: scale.map(v => 1 / Math.sqrt(v + 1e-5)) })
  }

  backward(dy, n, learn = true) {
    const { units, normed, scale } = this, gain = this.gain.value
    const sum = new Float64Array(units), dot = new Float64Array(units) // of dy, of dy with normed
    for (let i = 0, u = 0; i < dy.length; i++, u = u + 1 < units ? u + 1 : 0) {
      sum[u] += dy[i]
      dot[u] += dy[i] * normed[i]
    }
    for (let u = 0; learn && u < units; u++) {
      this.bias.grad[u] += sum[u]
      this.gain.grad[u] += dot[u]
    }
    const dx = new Float64Array(dy.length)
    for (let i = 0, u = 0; i < dy.length; i++, u = u + 1 < units ? u + 1 : 0) {
      dx[i] = gain[u] * scale[u] * (dy[i] - (sum[u] + normed[i] * dot[u]) / n)
    }
    return dx
  }
}

export class Net {
  constructor(layers) { this.layers = layers }
  get parameters() { return this.layers.flatMap(l => l.parameters) }
  forward(x, n, frozen) { return this.layers.reduce((h, l) => l.forward(h, n, frozen), x) }
  backward(dy, n, learn) {
    return this.layers.reduceRight((d, l) => l.backward(d, n, learn), dy)
  }
}

// R1 = γ/2 · mean |∂D/∂x|², and its gradient, for dense layers between leaky ones. Such a network
// is linear around each x, so ∂D/∂x is a product of weights and slopes; it is computed from the
// last layer to the first, and differentiated from the first to the last.
export function gradientPenalty(D, x, n, gamma) {
  const logits = D.forward(x, n)
  const steps = [] // for each layer, from the last: what came into it on the way back
  let slope = new Float64Array(logits.length).fill(1)
  for (const layer of [...D.layers].reverse()) {
    steps.push([layer, slope])
    slope = layer.backward(slope, n, false)
  }
  let total = 0
  for (const v of slope) total += v * v
  let d = slope.map(v => gamma * v / n)
  for (const [layer, came] of steps.reverse()) {
    if (layer instanceof Dense) {
      layer.learn(came, d, n, false) // slope = came·W
      d = new Dense0(layer).forward(d, n)
    } else d = layer.backward(d)
  }
  return gamma / 2 * total / n
}

function Dense0({ inputs, outputs, W }) { // the layer without its bias, and without a memory
  const zeros = { value: new Float64Array(outputs) }
  return Object.assign(Object.create(Dense.prototype), { inputs, outputs, W, b: zeros })
}

export class Adam {
  constructor(parameters, { rate, beta1, beta2 = 0.999, epsilon = 1e-8 }) {
    Object.assign(this, { parameters, rate, beta1, beta2, epsilon, steps: 0 })
  }

  clear() { for (const p of this.parameters) p.grad.fill(0) }

  step() {
    const { rate, beta1, beta2, epsilon } = this, t = ++this.steps
    const size = rate / (1 - beta1 ** t), scale = 1 / (1 - beta2 ** t)
    for (const { value, grad, mean, square } of this.parameters) {
      for (let i = 0; i < value.length; i++) {
        mean[i] = beta1 * mean[i] + (1 - beta1) * grad[i]
        square[i] = beta2 * square[i] + (1 - beta2) * grad[i] ** 2
        value[i] -= size * mean[i] / (Math.sqrt(square[i] * scale) + epsilon)
      }
    }
  }
}
