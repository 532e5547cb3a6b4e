// The training, beside the page: messages come in, pictures of the state go out
import { Gan } from './gan.js'

const side = 40, limit = 1.15 // of D's surface: places along a side, half of the plane that is shown
let gan = null, running = false, slow = 0, frame = 50, drawing = [], pending = null, shown = 0

function show(began = null, done = 0) {
  const rate = began ? 1000 * done / (performance.now() - began) : null
  const now = performance.now(), seen = gan.look()
  postMessage({ ...seen, rate, side, limit, field: gan.field(side, limit), net: gan.net(11, 25) })
  shown = performance.now() - now
}

function turn() { // rounds for one picture's time, or one round if they are slow
  pending = null
  if (!running) return
  const began = performance.now()
  let done = 0
  do {
    gan.round()
    done++
  } while (!slow && performance.now() - began < Math.max(frame, 2 * shown)) // most of it trains
  show(began, done)
  if (!slow) rest(0)
  else rest(Math.max(0, slow - performance.now() + began))
}

function rest(time) {
  clearTimeout(pending)
  pending = setTimeout(turn, time)
}

const answers = {
  start({ options, points }) { // anew, from the seed
    drawing = points ?? drawing
    gan = new Gan(options, drawing)
    show()
  },
  set({ options }) { gan.set(options) },
  draw({ points }) {
    drawing = points
    gan.learn(drawing)
    if (!running) show()
  },
  run({ every, picture }) { // milliseconds from round to round (0: as fast as it goes), and a picture
    running = true
    slow = every
    frame = picture
    rest(0)
  },
  pause() { running = false },
  step({ D, G }) {
    running = false
    gan.round(D, G)
    show()
  },
}

onmessage = ({ data: { kind, ...rest } }) => answers[kind](rest)
