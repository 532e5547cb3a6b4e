// Generators in a browser, drawn by onnxruntime-web. The files come from notebook 10a_explorer and
// from figures/weights, or are the reader's own.
const here = new URL('.', import.meta.url).href
const vendor = new URL('../vendor/onnxruntime-web/', here).href

// The runtime, with WebGPU or with WebAssembly alone, each loaded when it is first wanted

const runtimes = {}
function loadRuntime(device) {
  if (typeof WebAssembly !== 'object') throw new Error('this browser has no WebAssembly, which the generators need')
  const file = { webgpu: 'ort.jspi.min.mjs', wasm: 'ort.wasm.min.mjs' }[device]
  return runtimes[device] ??= import(vendor + file).then(ort => {
    ort.env.wasm.numThreads = 1 // more would need cross-origin isolation
    ort.env.wasm.wasmPaths = vendor
    return ort
  }).catch(e => { delete runtimes[device]; throw new Error(`the runtime did not load (${e.message})`) })
}

export async function devices(wish) { // the fastest first; a GPU that is pretended only on demand
  const has = wish !== 'wasm' && navigator.gpu && WebAssembly.Suspending
  const adapter = has ? await navigator.gpu.requestAdapter().catch(() => null) : null
  const real = adapter && !adapter.info?.isFallbackAdapter
  return real || (adapter && wish === 'webgpu') ? ['webgpu', 'wasm'] : ['wasm']
}

// Files

async function fetched(file, tell = () => {}) { // → its bytes; tell hears the share that has come
  const answer = await fetch(`${here}models/${file}`).catch(e => { throw new Error(`${file} could not be fetched (${e.message})`) })
  if (!answer.ok) throw new Error(`${file} could not be fetched (${answer.status} ${answer.statusText})`)
  const total = Number(answer.headers.get('content-length')), parts = []
  let come = 0
  for (const reader = answer.body.getReader(); ;) {
    const { done, value } = await reader.read()
    if (done) return new Uint8Array(await new Blob(parts).arrayBuffer())
    parts.push(value)
    tell((come += value.length) / total)
  }
}

const bytes = text => Uint8Array.from(atob(text), c => c.charCodeAt(0))
const vectors = (text, length) => {
  const all = new Float32Array(bytes(text).buffer)
  return Array.from({ length: all.length / length }, (_, i) => all.subarray(i * length, (i + 1) * length))
}

function described({ page, caption, answers = {}, datasets = [] }) { // what a JSON file says
  const [maps, height, width] = page.shape, { z: length, classes, latent = 'uniform', reference } = page
  const directions = Object.entries(page.directions).map(([k, { z, limit }]) => [k, { z: vectors(z, length)[0], limit }])
  return { maps, height, width, length, classes, latent, caption, answers, data: datasets[0],
    points: vectors(page.points, length), directions: Object.fromEntries(directions),
    sums: page.sums.map(s => ({ names: s.names, terms: vectors(s.z, length) })),
    reference: { z: vectors(reference.z, length)[0], label: reference.label, image: bytes(reference.image) } }
}

async function session(file, device) {
  const ort = await loadRuntime(device)
  return { ort, device, session: await ort.InferenceSession.create(file, { executionProviders: [device] }) }
}

async function open(name, tell, wish) {
  const kept = described(JSON.parse(new TextDecoder().decode(await fetched(`${name}.json`))))
  const file = await fetched(`${name}.onnx`, tell)
  for (const device of await devices(wish)) {
    try {
      const generator = { name, ...kept, ...await session(file, device) }
      generator.off = await check(generator)
      if (device === 'wasm' || generator.off <= 16) return generator // else the GPU draws something else
    } catch (e) {
      if (device === 'wasm') throw e
      console.info(`WebGPU did not draw: ${e.message}`)
    }
  }
}

const loaded = {}
export function load(name, tell, wish) { // → a generator, with what its JSON file says
  return loaded[name] ??= open(name, tell, wish).catch(e => { delete loaded[name]; throw e })
}

export async function own(file, latent) { // → a generator from a reader's ONNX file
  const refused = text => new Error(`${file.name} ${text}`)
  const made = await session(new Uint8Array(await file.arrayBuffer()), 'wasm')
    .catch(e => { throw refused(`is no ONNX file that the runtime can read (${e.message.slice(0, 120)})`) })
  const [z, y, more] = made.session.inputMetadata, length = z?.shape?.[1], classes = y ? y.shape?.[1] : 0
  if (more || !(length > 0) || !(classes >= 0)) throw refused('needs one input N×z, and may have a second, N×classes')
  const generator = { ...made, name: file.name, length, classes, latent, answers: {}, directions: {}, sums: [],
    points: drawn(9, length, 0, latent), inputs: [z, y] }
  const { dims } = await run(generator, generator.points.slice(0, 1), 0), [, maps, height, width] = dims
  if (dims.length !== 4 || ![1, 3].includes(maps)) throw refused(`draws ${dims.join('×')}, not N×1×H×W or N×3×H×W`)
  Object.assign(generator, { maps, height, width })
  const seen = (await draw(generator, generator.points)).flatMap(image => [...image])
  generator.low = seen.some(v => v < -0.05) ? -1 : 0 // of black: tanh or sigmoid
  generator.caption = `${file.name}: z of ${length} numbers, images of ${maps}×${height}×${width} with values from ${generator.low} to 1. The file stays on this machine.`
  return generator
}

// Drawing

const single = generator => typeof generator.inputs?.[0].shape[0] === 'number' // a file for one vector at a time

function run(generator, zs, label) { // → the tensor of images
  const { ort, session, length, classes, inputs } = generator, n = zs.length
  const [z, y] = inputs ?? [{ name: 'z', shape: ['N', length] }, { name: 'y' }]
  const feeds = { [z.name]: new ort.Tensor('float32', Float32Array.from(zs.flatMap(v => [...v])), [n, ...z.shape.slice(1)]) }
  if (classes) feeds[y.name] = new ort.Tensor('float32', zs.flatMap(() => shared(label, classes)), [n, classes])
  return session.run(feeds).then(answer => answer[session.outputNames[0]])
}

let queue = Promise.resolve() // one run of a session at a time
export function draw(generator, zs, label = 0) { // vectors → images, each C·H·W numbers in [0, 1]; a label may lie between two classes
  const { low = 0 } = generator, batches = single(generator) ? zs.map(z => [z]) : [zs]
  const result = queue.then(async () => {
    const images = []
    for (const batch of batches) {
      const { data } = await run(generator, batch, label), size = data.length / batch.length
      images.push(...batch.map((_, i) => data.slice(i * size, (i + 1) * size)))
    }
    return low ? images.map(image => image.map(v => (v - low) / (1 - low))) : images
  })
  queue = result.catch(() => {})
  return result
}

export const shared = (label, classes) => Array.from({ length: classes }, (_, k) => Math.max(0, 1 - Math.abs(label - k)))

export async function check(generator) { // → the largest difference from PyTorch's picture of the same vector, in grey levels of 255
  const { z, label, image } = generator.reference, [mine] = await draw(generator, [z], label ?? 0)
  return mine.reduce((worst, v, i) => Math.max(worst, Math.abs(Math.round(255 * v) - image[i])), 0)
}

// Latent vectors

const norm = z => Math.hypot(...z)
export const plus = (z, ...terms) => z.map((x, i) => terms.reduce((sum, [t, v]) => sum + t * v[i], x)) // z + t·v + …

export function mix(points, weights) { // as long as the points are on average, as `mix` of dcgan.walks
  const z = plus(new Float32Array(points[0].length), ...points.map((p, k) => [weights[k], p]))
  const length = points.reduce((sum, p, k) => sum + weights[k] * norm(p), 0) / (norm(z) || 1)
  return z.map(x => x * length)
}

function uniform(seed) { // numbers in [-1, 1) that are the same at every visit: mulberry32
  return () => {
    seed = (seed + 0x6D2B79F5) | 0
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 31 - 1
  }
}

function normal(seed) { // Box and Muller
  const next = uniform(seed), share = () => (next() + 1) / 2
  return () => Math.sqrt(-2 * Math.log(1 - share())) * Math.cos(2 * Math.PI * share())
}

export function drawn(n, length, seed, latent = 'uniform') { // n vectors
  const next = { uniform, normal }[latent](seed)
  return Array.from({ length: n }, () => Float32Array.from({ length }, next))
}
